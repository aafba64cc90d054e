package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// change is what the log says that a row became, in the order in which subscribers must hear of it.
type change struct {
	kind        changefeed.Kind
	name        rowName
	seq, oldSeq uint64
	old, value  string
}

// noteChange records a write of the model.
func (m *model) noteChange(name rowName, before, after modelRow) {
	c := change{name: name, seq: after.seq, kind: changefeed.Insert, value: after.value}
	if before.seq != 0 && !before.deleted {
		c.kind, c.oldSeq, c.old = changefeed.Update, before.seq, before.value
	}
	if after.deleted {
		c.kind, c.value = changefeed.Delete, ""
		if c.oldSeq == 0 {
			return // nothing was there, nobody hears of it
		}
	}
	m.changes = append(m.changes, c)
}

// follower is a subscriber without a connection: it holds the cursor of one group, goes from node to node with it, and
// takes what the change log of that node has behind it.
type follower struct {
	group shard.GroupID
	told  int    // of the model's changes
	seq   uint64 // of the last one
}

// follow is the loop of a subscriber.
func (c *clients) follow(a *actor) {
	f := &follower{group: c.someCell("", 1).group} // one that is written to
	for ; c.busy; a.sleep(time.Duration(10+c.w.rng.IntN(100)) * stepTime) {
		a.request(func(s *session) { f.take(s) })
	}
}

// take reads what is new at a node behind a barrier: all changes that were acknowledged before must be there, each once,
// in the order of the log, and nothing else.
func (f *follower) take(s *session) {
	w := s.a.w
	if !s.barrier(f.group) {
		return
	}
	upto := s.n.manager.Applied(f.group)
	view := s.n.store.NewSnapshot()
	defer func() { _ = view.Close() }() // it was only read
	want := w.oracle.groups[f.group].model.changes
	err := changelog.Check(view, f.group, f.seq)
	switch {
	case errors.Is(err, changelog.ErrTooOld) && (len(want) == 0 || want[0].seq>>16 > upto):
		return // there never was a change here
	case errors.Is(err, changelog.ErrTooOld) && w.dropped(f.group, f.seq):
		for f.told < len(want) && want[f.told].seq>>16 <= upto {
			f.told, f.seq = f.told+1, want[f.told].seq // it starts again
		}
		return
	case err != nil:
		w.fail("node %d does not have the changes of %s after %d: %v", s.n.id, f.group, f.seq, err)
	}
	err = changelog.Read(view, f.group, f.seq, nil, func(c changefeed.Change) bool {
		got := change{
			kind: c.Kind, name: rowName{uint64(c.Table), string(c.User), string(c.PrimaryKey)}, seq: c.Seq, oldSeq: c.OldSeq,
			old: string(c.Old), value: string(c.New),
		}
		if f.told >= len(want) || got != want[f.told] {
			w.fail("node %d tells a subscriber of %s, after %d changes: %+v; the log says %s", s.n.id, f.group, f.told, got, nth(want, f.told))
		}
		f.told, f.seq = f.told+1, c.Seq
		w.stats.told++
		w.saw(ruleFollowers)
		return true
	})
	if err != nil {
		w.fail("node %d reads the changes of %s: %v", s.n.id, f.group, err)
	}
	if f.told < len(want) && want[f.told].seq>>16 <= upto {
		w.fail("node %d has applied %d of %s and tells a subscriber nothing of %s", s.n.id, upto, f.group, nth(want, f.told))
	}
}

func nth(changes []change, n int) string {
	if n >= len(changes) {
		return "nothing more"
	}
	return fmt.Sprintf("%+v", changes[n])
}
