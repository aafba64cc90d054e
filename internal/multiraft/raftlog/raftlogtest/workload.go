package raftlogtest

import (
	"fmt"
	"math/rand/v2"
	"strings"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Workload draws operations that keep the rules of Raft.
type Workload struct {
	// Model is the state the next operation starts from. Whoever runs an operation applies it here.
	Model *Model
	// Groups is the number of groups; the first one gets a few entries and then stays idle.
	Groups int
	// MaxDataBytes bounds the data of an entry.
	MaxDataBytes int
	rng          *rand.Rand
	drawn        int
}

// NewWorkload returns the workload of a seed.
func NewWorkload(seed uint64, groups, maxDataBytes int) *Workload {
	return &Workload{
		Model: NewModel(), Groups: groups, MaxDataBytes: maxDataBytes,
		rng: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // a test wants the same numbers every time
	}
}

// Op is one operation: an Append, or a Truncate when Updates is empty.
type Op struct {
	Updates []raftlog.Update
	Sync    bool
	Group   shard.GroupID
	Upto    uint64
}

// String prints the operation for test failures.
func (o Op) String() string {
	if len(o.Updates) == 0 {
		return fmt.Sprintf("truncate %v up to %d", o.Group, o.Upto)
	}
	text := fmt.Sprintf("append sync=%t:", o.Sync)
	var textSb47 strings.Builder
	for _, u := range o.Updates {
		fmt.Fprintf(&textSb47, " [%v", u.Group)
		if u.Reset != nil {
			fmt.Fprintf(&textSb47, " reset=%d/%d", u.Reset.Index, u.Reset.Term)
		}
		if n := len(u.Entries); n > 0 {
			fmt.Fprintf(&textSb47, " entries=%d..%d/%d", u.Entries[0].GetIndex(), u.Entries[n-1].GetIndex(), u.Entries[0].GetTerm())
		}
		if u.Hard != nil {
			fmt.Fprintf(&textSb47, " hard=%+v", *u.Hard)
		}
		textSb47.WriteString("]")
	}
	text += textSb47.String()
	return text
}

// runner is the side of a log that is written.
type runner interface {
	Append(updates []raftlog.Update, sync bool) error
	Truncate(group shard.GroupID, upto uint64) error
}

// Run applies an operation to a log.
func (o Op) Run(l runner) error {
	if len(o.Updates) == 0 {
		return l.Truncate(o.Group, o.Upto)
	}
	return l.Append(o.Updates, o.Sync)
}

// Apply applies an operation to a model.
func (o Op) Apply(m *Model) {
	if len(o.Updates) == 0 {
		m.Truncate(o.Group, o.Upto)
		return
	}
	m.Append(o.Updates, o.Sync)
}

// Next draws an operation.
func (w *Workload) Next() Op {
	w.drawn++
	if w.drawn == 1 {
		return Op{Updates: []raftlog.Update{w.grow(1, 3)}, Sync: true}
	}
	id := shard.GroupID(2 + w.rng.IntN(w.Groups-1))
	g := w.Model.group(id)
	switch n := w.rng.IntN(100); {
	case n < 15 && g.hard.Commit > g.marker.Index:
		return Op{Group: id, Upto: g.marker.Index + 1 + w.rng.Uint64N(g.hard.Commit-g.marker.Index)}
	case n < 25 && g.hard.Commit < g.last:
		hard := g.hard
		hard.Commit += w.rng.Uint64N(g.last-hard.Commit) + 1
		return Op{Updates: []raftlog.Update{{Group: id, Hard: &hard}}}
	case n < 28:
		return Op{Updates: []raftlog.Update{w.reset(id)}, Sync: true}
	case n < 35:
		hard := raftlog.HardState{Term: g.hard.Term + 1, Vote: 1 + w.rng.Uint64N(3), Commit: g.hard.Commit}
		return Op{Updates: []raftlog.Update{{Group: id, Hard: &hard}}, Sync: true}
	}
	op := Op{Sync: true}
	for _, offset := range w.rng.Perm(w.Groups - 1)[:1+w.rng.IntN(w.Groups-1)] {
		id := shard.GroupID(2 + offset)
		if g := w.Model.group(id); w.rng.IntN(6) == 0 && g.last > g.hard.Commit {
			op.Updates = append(op.Updates, w.replace(id))
			continue
		}
		op.Updates = append(op.Updates, w.grow(id, 1+w.rng.IntN(4)))
	}
	return op
}

// grow appends entries and, now and then, a commit index.
func (w *Workload) grow(id shard.GroupID, count int) raftlog.Update {
	g := w.Model.group(id)
	hard := g.hard
	if hard.Term == 0 {
		hard.Term = 1
	}
	u := raftlog.Update{Group: id, Entries: w.entries(g.last+1, count, hard.Term)}
	if w.rng.IntN(2) == 0 || hard != g.hard {
		if last := g.last + uint64(count); last > hard.Commit {
			hard.Commit += w.rng.Uint64N(last - hard.Commit + 1)
		}
		u.Hard = &hard
	}
	return u
}

// replace overwrites a suffix that is not committed, in a new term.
func (w *Workload) replace(id shard.GroupID) raftlog.Update {
	g := w.Model.group(id)
	hard := raftlog.HardState{Term: g.hard.Term + 1, Vote: 2, Commit: g.hard.Commit}
	first := g.hard.Commit + 1 + w.rng.Uint64N(g.last-g.hard.Commit)
	return raftlog.Update{Group: id, Hard: &hard, Entries: w.entries(first, 1+w.rng.IntN(2), hard.Term)}
}

// reset is the install of a snapshot ahead of what is committed.
func (w *Workload) reset(id shard.GroupID) raftlog.Update {
	g := w.Model.group(id)
	marker := raftlog.Marker{Index: g.hard.Commit + 1 + w.rng.Uint64N(20), Term: max(g.hard.Term, 1)}
	hard := raftlog.HardState{Term: marker.Term, Vote: g.hard.Vote, Commit: marker.Index}
	u := raftlog.Update{Group: id, Reset: &marker, Hard: &hard}
	if w.rng.IntN(2) == 0 {
		u.Entries = w.entries(marker.Index+1, 2, marker.Term)
	}
	return u
}

func (w *Workload) entries(first uint64, count int, term uint64) []*raftpb.Entry {
	entries := make([]*raftpb.Entry, count)
	for i := range entries {
		data := make([]byte, w.rng.IntN(w.MaxDataBytes+1))
		for j := range data {
			data[j] = byte(w.rng.Uint32())
		}
		entries[i] = Entry(first+uint64(i), term, data)
	}
	return entries
}

// Entry returns a normal entry.
func Entry(index, term uint64, data []byte) *raftpb.Entry {
	kind := raftpb.EntryNormal
	return &raftpb.Entry{Index: &index, Term: &term, Type: &kind, Data: data}
}
