// Package raftlogtest holds the naive twin of the Raft log: maps in memory, obviously right.
//
// Tests run the same operations on a Log and on a Model and compare them: Exact while the log runs and
// after it was closed and opened, Recovered after a crash, when what was not promised to be durable may be
// missing. Workload draws operations from a seed.
//
// Only tests may use this package.
package raftlogtest

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Log is what is tested: a log whose groups are G.
type Log[G Group] interface {
	Append(updates []raftlog.Update, sync bool) error
	Truncate(group shard.GroupID, upto uint64) error
	Group(group shard.GroupID) G
}

// Group is what a model compares.
type Group interface {
	HardState() raftlog.HardState
	Marker() raftlog.Marker
	LastIndex() uint64
	Bytes() uint64
	Term(index uint64) (uint64, error)
	Entries(lo, hi, maxBytes uint64) ([]*raftpb.Entry, error)
}

// Groups gives the groups of any log as what a model compares.
func Groups[G Group](l Log[G]) func(shard.GroupID) Group {
	return func(id shard.GroupID) Group { return l.Group(id) }
}

// Model is what a log should hold.
type Model struct{ groups map[shard.GroupID]*group }

type group struct {
	hard    raftlog.HardState
	marker  raftlog.Marker
	last    uint64
	entries map[uint64]*raftpb.Entry // from the floor's marker on, so also what a crash may bring back
	// What is surely durable.
	commit uint64
	floor  raftlog.Marker
}

// NewModel returns an empty log.
func NewModel() *Model { return &Model{groups: map[shard.GroupID]*group{}} }

// Clone returns a copy that later changes do not touch.
func (m *Model) Clone() *Model {
	c := NewModel()
	for id, g := range m.groups {
		copied := *g
		copied.entries = maps.Clone(g.entries)
		c.groups[id] = &copied
	}
	return c
}

func (m *Model) group(id shard.GroupID) *group {
	g := m.groups[id]
	if g == nil {
		g = &group{entries: map[uint64]*raftpb.Entry{}}
		m.groups[id] = g
	}
	return g
}

// Append does what Log.Append does.
func (m *Model) Append(updates []raftlog.Update, sync bool) {
	for _, u := range updates {
		g := m.group(u.Group)
		if u.Reset != nil {
			g.entries = map[uint64]*raftpb.Entry{}
			g.marker, g.floor, g.last = *u.Reset, *u.Reset, u.Reset.Index
			g.hard.Commit = max(g.hard.Commit, g.marker.Index)
		}
		if len(u.Entries) > 0 {
			first := u.Entries[0].GetIndex()
			for index := range g.entries {
				if index >= first {
					delete(g.entries, index)
				}
			}
			for _, entry := range u.Entries {
				g.entries[entry.GetIndex()] = entry
				g.last = entry.GetIndex()
			}
		}
		if u.Hard != nil {
			commit := max(g.hard.Commit, u.Hard.Commit)
			g.hard = *u.Hard
			g.hard.Commit = commit
			if sync {
				g.commit = commit
			}
		}
	}
}

// Truncate does what Log.Truncate does.
func (m *Model) Truncate(id shard.GroupID, upto uint64) {
	g := m.group(id)
	if upto > g.marker.Index {
		g.marker = raftlog.Marker{Index: upto, Term: g.term(upto)}
		g.hard.Commit = max(g.hard.Commit, upto)
	}
}

func (g *group) term(index uint64) uint64 {
	switch index {
	case g.marker.Index:
		return g.marker.Term
	case g.floor.Index:
		return g.floor.Term
	}
	return g.entries[index].GetTerm()
}

// Exact reports the first difference between a log and the model.
func (m *Model) Exact(groups func(shard.GroupID) Group) error {
	for _, id := range m.ids() {
		want, got := m.groups[id], groups(id)
		if got.Marker() != want.marker {
			return fmt.Errorf("group %v: marker %+v, want %+v", id, got.Marker(), want.marker)
		}
		if err := want.compare(id, got, want.hard.Commit); err != nil {
			return err
		}
	}
	return nil
}

// Recovered reports the first way in which a log that was opened after a crash breaks a promise.
func (m *Model) Recovered(groups func(shard.GroupID) Group) error {
	for _, id := range m.ids() {
		want, got := m.groups[id], groups(id)
		if err := want.compare(id, got, want.commit); err != nil {
			return err
		}
	}
	return nil
}

func (m *Model) ids() []shard.GroupID { return slices.Sorted(maps.Keys(m.groups)) }

func (g *group) compare(id shard.GroupID, got Group, atLeast uint64) error {
	hard, marker := got.HardState(), got.Marker()
	switch {
	case hard.Term != g.hard.Term || hard.Vote != g.hard.Vote:
		return fmt.Errorf("group %v: hard state %+v, want %+v", id, hard, g.hard)
	case hard.Commit < atLeast || hard.Commit > g.hard.Commit:
		return fmt.Errorf("group %v: commit %d, want %d to %d", id, hard.Commit, atLeast, g.hard.Commit)
	case got.LastIndex() != g.last:
		return fmt.Errorf("group %v: last index %d, want %d", id, got.LastIndex(), g.last)
	case marker.Index < g.floor.Index || marker.Index > g.marker.Index || hard.Commit < marker.Index:
		return fmt.Errorf("group %v: marker %+v with commit %d, want index %d to %d",
			id, marker, hard.Commit, g.floor.Index, g.marker.Index)
	case marker.Term != g.term(marker.Index):
		return fmt.Errorf("group %v: marker %+v, want term %d", id, marker, g.term(marker.Index))
	}
	term, err := got.Term(g.marker.Index)
	if err != nil || term != g.marker.Term {
		return fmt.Errorf("group %v: term of %d = %d, %w; want %d", id, g.marker.Index, term, err, g.marker.Term)
	}
	return g.compareEntries(id, got, marker.Index+1)
}

func (g *group) compareEntries(id shard.GroupID, got Group, first uint64) error {
	size := uint64(0)
	for index := first; index <= g.last; {
		entries, err := got.Entries(index, g.last+1, math.MaxUint64)
		if err != nil {
			return fmt.Errorf("group %v: entries from %d: %w", id, index, err)
		}
		if len(entries) == 0 {
			return fmt.Errorf("group %v: no entries from %d", id, index)
		}
		for _, entry := range entries {
			want := g.entries[index]
			if entry.GetIndex() != index || entry.GetTerm() != want.GetTerm() ||
				entry.GetType() != want.GetType() || !bytes.Equal(entry.GetData(), want.GetData()) {
				return fmt.Errorf("group %v: entry %d/%d %q, want %d/%d %q", id, entry.GetIndex(), entry.GetTerm(),
					entry.GetData(), index, want.GetTerm(), want.GetData())
			}
			index++
			size += 20 + uint64(len(entry.GetData()))
		}
	}
	if got.Bytes() != size {
		return fmt.Errorf("group %v: %d bytes, want %d", id, got.Bytes(), size)
	}
	return nil
}
