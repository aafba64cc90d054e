package sim

import (
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// machine stands before the real state machine of one group and shows the oracle what is applied.
type machine struct {
	n     *simNode
	life  int
	group shard.GroupID
	inner statemachine.Machine

	last     uint64 // highest applied index of this life
	more     bool   // more commands of that entry come
	restored int
	shown    []shown // applied, and not yet committed to the store
}

type shown struct {
	entry  command.Entry
	result []byte
	meta   uint64 // applied meta index when it ran
}

// Apply implements multiraft.StateMachine.
func (m *machine) Apply(batch *storage.Batch, entries []command.Entry) (command.Outcome, error) {
	if err := m.n.standStill(); err != nil {
		return command.Outcome{}, err
	}
	outcome, err := m.inner.Apply(batch, entries)
	if err != nil {
		return outcome, err
	}
	for i, result := range outcome.Results {
		m.shown = append(m.shown, shown{entries[i], result, m.n.catalog.Index()})
	}
	return outcome, nil
}

// Publish implements multiraft.StateMachine.
func (m *machine) Publish() {
	m.inner.Publish()
	w := m.n.w
	for _, s := range m.shown {
		next := m.last + 1
		if m.more {
			next = m.last
		}
		if m.last != 0 && s.entry.Index != next || m.more != (s.entry.Position > 0) {
			w.fail("node %d applies %s: position %d of %d after %d", m.n.id, m.group, s.entry.Position, s.entry.Index, m.last)
		}
		m.last, m.more = s.entry.Index, s.entry.More
		w.oracle.applied(m.n, m.group, &s)
	}
	m.shown = m.shown[:0]
}

// Announce implements multiraft.StateMachine.
func (m *machine) Announce() { m.inner.Announce() }

// Restore implements multiraft.StateMachine.
func (m *machine) Restore(reader storage.Reader) error {
	if m.restored++; m.restored > 1 && m.n.w.busy() {
		m.n.w.saw(snapshotInstalled)
	}
	m.last, m.more = 0, false
	if err := m.n.w.mutant.restored(m, reader); err != nil {
		return err
	}
	return m.inner.Restore(reader)
}
