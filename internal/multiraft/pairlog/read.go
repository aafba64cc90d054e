package pairlog

import (
	"fmt"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Entries is that of raftlog.Group.
func (g *Group) Entries(lo, hi, maxBytes uint64) ([]*raftpb.Entry, error) {
	p, err := g.pick(lo, hi, maxBytes)
	if err != nil || len(p.terms) == 0 {
		return p.entries, err
	}
	if g.log.fill(g, lo, p) == nil {
		return p.entries, nil
	}
	// They may have been replaced or dropped meanwhile. While no batch is written, that cannot be.
	g.log.mu.Lock()
	defer g.log.mu.Unlock()
	if err = g.log.usable(); err != nil {
		return nil, err
	}
	if p, err = g.pick(lo, hi, maxBytes); err == nil {
		err = g.log.fill(g, lo, p)
	}
	if err != nil {
		return nil, err
	}
	return p.entries, nil
}

// fill reads from the store what is missing.
func (l *Log) fill(g *Group, lo uint64, p picked) error {
	for i, term := range p.terms {
		index := lo + uint64(i)
		key := entryKey(g.id, index)
		value, ok, err := l.store.Get(key)
		if err != nil {
			return fmt.Errorf("pairlog: %w", err)
		}
		if !ok {
			return damaged(g.id, fmt.Sprintf("entry %d of %v is missing", index, g.id))
		}
		if value, err = unseal(key, value, entryHeaderBytes-sumBytes); err != nil {
			return damaged(g.id, err.Error())
		}
		entry := decodeEntry(index, value)
		if entry.GetTerm() != term {
			return damaged(g.id, fmt.Sprintf("entry %d of %v has term %d, want %d", index, g.id, entry.GetTerm(), term))
		}
		p.entries[i] = entry
	}
	return nil
}

func damaged(group shard.GroupID, reason string) error {
	return &raftlog.DamageError{Groups: []shard.GroupID{group}, Reason: reason}
}
