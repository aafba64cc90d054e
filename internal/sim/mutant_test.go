package sim

import (
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// mutant is one planted bug. The zero value has none: every place where a bug can sit asks it, and does the
// right thing when there is no answer.
type mutant struct {
	name        string
	tag         string // of builds that have it, behind planted.Prefix
	seed        uint64 // that betrays it; zero when none is known
	onFS        func(*simDisk, disk.FS) disk.FS
	onOpen      func(*simNode) error
	onMachine   func(*simNode, shard.GroupID) (statemachine.Machine, error)
	onRestore   func(*machine, storage.Reader) error
	onPropose   func(*session, ident.RequestID, []byte) (ident.RequestID, []byte)
	onSubmitted func(*simNode, shard.GroupID) (executor.Attempt, bool)
	onBarrier   func(*session, shard.GroupID) bool
	onRoute     func(*world, cell) shard.GroupID
	onAttempt   func(executor.Attempt) executor.Attempt
	early       bool // mode all answers as quorum does
	onRead      func(*session, cell)
	onSQL       func(w *world, statements []string) (changed []string, transaction string)
	unforgetful bool // proposals are not given up by those who do not wait for them any more
	noGossip    bool // nodes know only the addresses in their own catalog
	onWipe      func(*simNode) whoami
	onDamage    func(*simNode)
	onPublisher func(*simNode, *changefeed.Feed) applier.Publisher
	onLive      func(*session) bool // a live query begins without a barrier
	onDeliver   func(*watcher, []live.Notification)
	onCold      func(*commandv1.Command) // of a flush or a merge
	noKeep      bool                     // a segment is committed before others have it
	noTend      bool                     // nobody fetches files that a node misses
	graceless   bool                     // files that nobody names are deleted at once
	localOrigin bool                     // logs of rows that are not replicated begin at the same index everywhere
	localEarly  bool                     // their commands are answered before they are in the log
}

func (m *mutant) fs(d *simDisk, fs disk.FS) disk.FS {
	if m.onFS != nil {
		return m.onFS(d, fs)
	}
	return fs
}

func (m *mutant) beforeOpen(n *simNode) error {
	if m.onOpen != nil {
		return m.onOpen(n)
	}
	return nil
}

func (m *mutant) newMachine(n *simNode, group shard.GroupID) (statemachine.Machine, error) {
	if m.onMachine != nil {
		return m.onMachine(n, group)
	}
	return realMachine(n, group)
}

func (m *mutant) restored(at *machine, reader storage.Reader) error {
	if m.onRestore != nil {
		return m.onRestore(at, reader)
	}
	return nil
}

func (m *mutant) beforePropose(s *session, id ident.RequestID, data []byte) (ident.RequestID, []byte) {
	if m.onPropose != nil {
		return m.onPropose(s, id, data)
	}
	return id, data
}

func (m *mutant) acknowledge(n *simNode, group shard.GroupID) (executor.Attempt, bool) {
	if m.onSubmitted != nil {
		return m.onSubmitted(n, group)
	}
	return executor.Attempt{}, false
}

func (m *mutant) skipBarrier(s *session, group shard.GroupID) bool {
	return m.onBarrier != nil && !s.gone() && group != shard.Local && m.onBarrier(s, group)
}

func (m *mutant) reads(s *session, c cell) {
	if m.onRead != nil {
		m.onRead(s, c)
	}
}

func (m *mutant) speaks(w *world, statements []string) (changed []string, transaction string) {
	if m.onSQL != nil {
		return m.onSQL(w, statements)
	}
	return statements, ""
}

func (m *mutant) route(w *world, c cell) shard.GroupID {
	if m.onRoute != nil && c.at == 0 {
		return m.onRoute(w, c)
	}
	return c.group
}

func (m *mutant) attempt(a executor.Attempt) executor.Attempt {
	if m.onAttempt != nil {
		return m.onAttempt(a)
	}
	return a
}

func (m *mutant) publisher(n *simNode, feed *changefeed.Feed) applier.Publisher {
	if m.onPublisher != nil {
		return m.onPublisher(n, feed)
	}
	return feed
}

// hurry is by how much the clock of sweepers runs ahead.
func (m *mutant) hurry(w *world) time.Duration {
	if m.graceless {
		return time.Duration(w.step) * time.Hour
	}
	return 0
}

func (m *mutant) deliver(w *watcher, notifications []live.Notification) {
	if m.onDeliver != nil {
		m.onDeliver(w, notifications)
		return
	}
	w.hear(notifications)
}

func (m *mutant) blindLive(s *session) bool { return m.onLive != nil && m.onLive(s) }

// emptyDisk is the identity of a node whose disk was lost.
func (m *mutant) emptyDisk(n *simNode) whoami {
	if m.onWipe != nil {
		return m.onWipe(n)
	}
	return whoami{}
}
