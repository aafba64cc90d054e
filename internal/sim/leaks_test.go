package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.uber.org/goleak"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// This file looks at what is left when a run ends: whatever was opened for a request, a snapshot, a flush or a follower must
// be closed by then, on every path that faults have taken.

// handles is a file system that knows which files are open. Pebble's goroutines open files, too.
type handles struct {
	disk.FS
	mu   sync.Mutex // guards open
	open map[string]int
}

func newHandles(fs disk.FS) *handles { return &handles{FS: fs, open: make(map[string]int)} }

// Create implements disk.FS.
func (h *handles) Create(name string, c disk.WriteCategory) (disk.File, error) {
	f, err := h.FS.Create(name, c)
	return h.opened(name, f, err)
}

// Open implements disk.FS.
func (h *handles) Open(name string, o ...disk.OpenOption) (disk.File, error) {
	f, err := h.FS.Open(name, o...)
	return h.opened(name, f, err)
}

// OpenReadWrite implements disk.FS.
func (h *handles) OpenReadWrite(name string, c disk.WriteCategory, o ...disk.OpenOption) (disk.File, error) {
	f, err := h.FS.OpenReadWrite(name, c, o...)
	return h.opened(name, f, err)
}

// OpenDir implements disk.FS.
func (h *handles) OpenDir(name string) (disk.File, error) {
	f, err := h.FS.OpenDir(name)
	return h.opened(name, f, err)
}

// ReuseForWrite implements disk.FS.
func (h *handles) ReuseForWrite(from, to string, c disk.WriteCategory) (disk.File, error) {
	f, err := h.FS.ReuseForWrite(from, to, c)
	return h.opened(to, f, err)
}

func (h *handles) opened(name string, f disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	h.count(name, 1)
	return &handle{File: f, all: h, name: name}, nil
}

func (h *handles) count(name string, by int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[name] += by; h.open[name] == 0 {
		delete(h.open, name)
	}
}

// list names the files that are open.
func (h *handles) list() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.open))
}

type handle struct {
	disk.File
	all  *handles
	name string
	once sync.Once
}

// Close implements disk.File.
func (f *handle) Close() error {
	f.once.Do(func() { f.all.count(f.name, -1) })
	return f.File.Close()
}

// noteOpen notes that a life of a node has left something open.
func (w *world) noteOpen(n *simNode) {
	if w.leftOpen == "" {
		w.leftOpen = fmt.Sprintf("node %d leaves %d iterators or views of its store open at the end of life %d", n.id, n.unclosed, n.life)
	}
}

// judgeLeaks ends all processes and wants nothing to be left: no transaction, no proposal that somebody waits for, no iterator
// or view of a store, no open file, no goroutine.
func (w *world) judgeLeaks() {
	for _, n := range w.nodes {
		if n.sql != nil {
			if open, _ := n.sql.Usage(); open != 0 {
				w.fail("node %d has %d open transactions at the end", n.id, open)
			}
		}
		if m, member := n.manager.(*multiraft.Manager); member {
			for _, seen := range m.Observe() {
				if seen.Waiting != 0 || seen.WaitingBytes != 0 {
					w.fail("node %d keeps %d proposals of %s that nobody waits for, %d bytes", n.id, seen.Waiting, seen.Group, seen.WaitingBytes)
				}
			}
		}
		n.close()
		if w.leftOpen != "" {
			w.fail("%s", w.leftOpen)
		}
		if n.closing != nil {
			w.fail("node %d does not end well: %v", n.id, n.closing)
		}
		if left := n.handles.list(); len(left) > 0 {
			w.fail("node %d leaves %d files open: %s", n.id, len(left), strings.Join(left, ", "))
		}
	}
	for _, a := range w.actors {
		a.end()
	}
	w.saw(ruleLeaks)
	if err := goleak.Find(w.before); err != nil {
		w.fail("at the end of the run: %v", err)
	}
}

// The planted bugs of this file. They forget every now and then, and only while clients work.

// forgetIterator leaves an iterator of a read open.
func forgetIterator(s *session, c cell) {
	if s.a.w.rng.IntN(20) > 0 {
		return
	}
	if _, err := s.n.store.Scan(keys.GroupSpan(c.group)); err != nil {
		s.a.w.fail("scan %s: %v", c.group, err)
	}
}

// forgetView leaves a view of the store open.
func forgetView(s *session, _ cell) {
	if s.a.w.rng.IntN(20) == 0 {
		s.n.store.NewSnapshot()
	}
}

// forgetCommit leaves a transaction without an end.
func forgetCommit(w *world, statements []string) (changed []string, transaction string) {
	if last := len(statements) - 1; statements[last] == "COMMIT" && w.rng.IntN(4) == 0 {
		return statements[:last], exec.NewTransaction
	}
	return statements, ""
}

// mute is a state machine that forgets who asked for some entries, at all replicas alike: nobody hears of their results.
type mute struct{ statemachine.Machine }

func answerless(n *simNode, group shard.GroupID) (statemachine.Machine, error) {
	inner, err := realMachine(n, group)
	return mute{inner}, err
}

// Apply implements statemachine.Machine.
func (m mute) Apply(batch *storage.Batch, entries []command.Entry) (command.Outcome, error) {
	outcome, err := m.Machine.Apply(batch, entries)
	for i := range entries {
		if entries[i].Index%20 == 0 {
			entries[i].RequestID = ident.RequestID{}
		}
	}
	return outcome, err
}

// forgetGoroutine starts what no end of the process ends.
func forgetGoroutine(n *simNode) error {
	go func() { <-n.w.over }()
	return nil
}

// unclosed is a file system whose files of the log stay open when they are read to their end or given up.
type unclosed struct{ disk.FS }

func forgetFiles(_ *simDisk, fs disk.FS) disk.FS { return &unclosed{fs} }

// OpenReadWrite implements disk.FS.
func (u *unclosed) OpenReadWrite(name string, c disk.WriteCategory, o ...disk.OpenOption) (disk.File, error) {
	f, err := u.FS.OpenReadWrite(name, c, o...)
	if err != nil || !strings.HasPrefix(name, logDir) {
		return f, err
	}
	return unclosedFile{f}, nil
}

type unclosedFile struct{ disk.File }

// Close implements disk.File.
func (unclosedFile) Close() error { return nil }
