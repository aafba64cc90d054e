package pairlog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

func encodeStamp(store ident.StoreID) []byte {
	value := make([]byte, sumBytes)
	value = binary.LittleEndian.AppendUint32(value, formatVersion)
	return append(value, store[:]...)
}

// load reads what is there, or stamps a new log.
func (l *Log) load() error {
	value, ok, err := l.store.Get(stampKey())
	if err != nil {
		return fmt.Errorf("pairlog: %w", err)
	}
	if !ok {
		return l.begin()
	}
	if err = l.checkStamp(value); err != nil {
		return err
	}
	return l.loadGroups()
}

// checkStamp refuses a log of another format or store.
func (l *Log) checkStamp(value []byte) error {
	value, err := unseal(stampKey(), value, 4+len(ident.StoreID{}))
	if err != nil {
		return &raftlog.DamageError{Reason: err.Error()}
	}
	if v := binary.LittleEndian.Uint32(value); v != formatVersion {
		return fmt.Errorf("pairlog: format %d is not known; want %d", v, formatVersion)
	}
	if store := ident.StoreID(value[4:]); l.cfg.StoreID != (ident.StoreID{}) && store != l.cfg.StoreID {
		return fmt.Errorf("%w: %v, want %v", raftlog.ErrWrongStore, store, l.cfg.StoreID)
	}
	return nil
}

var errStampMissing = &raftlog.DamageError{Reason: "the stamp of the log is missing"}

// begin stamps a log that is new, which one with anything in it, or of which a node says that it was there, is not.
func (l *Log) begin() error {
	it, err := l.store.Scan(nil, nil)
	if err != nil {
		return fmt.Errorf("pairlog: %w", err)
	}
	some := it.First()
	if err = it.Close(); err != nil {
		return fmt.Errorf("pairlog: %w", err)
	}
	if some || l.cfg.Existing {
		return errStampMissing
	}
	if err = l.write(l.stamp); err != nil {
		return err
	}
	// The store's first file of writes does not say what was durable, see storage.VerifyWrites: what matters goes to the next one.
	err = l.store.Close()
	l.store = nil
	if err != nil {
		return fmt.Errorf("pairlog: %w", err)
	}
	return l.openStore()
}

func (l *Log) loadGroups() (err error) {
	it, err := l.store.Scan([]byte{kindHard}, nil)
	if err != nil {
		return fmt.Errorf("pairlog: %w", err)
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var value []byte
		if value, err = it.Value(); err == nil {
			err = l.loadPair(it.Key(), value)
		}
	}
	if err = errors.Join(err, it.Close()); err != nil {
		return fmt.Errorf("pairlog: %w", err)
	}
	for _, id := range l.Groups() {
		if err := l.Group(id).checkCommit(); err != nil {
			return err
		}
	}
	return nil
}

// checkCommit wants the commit index among what is there.
func (g *Group) checkCommit() error {
	if g.hard.Commit > g.last() || g.hard.Commit < g.marker.Index {
		return damaged(g.id, fmt.Sprintf("commit index %d of %v is not among its entries %d to %d", g.hard.Commit, g.id, g.marker.Index+1, g.last()))
	}
	return nil
}

// loadPair takes one pair; they come in the order of keys, so a group's marker before its entries.
func (l *Log) loadPair(key, value []byte) error {
	kind, id, index, err := parseKey(key)
	if err != nil {
		return &raftlog.DamageError{Reason: err.Error()}
	}
	g := l.Group(id)
	least := map[byte]int{kindHard: 24, kindMarker: 16, kindEntry: entryHeaderBytes - sumBytes}[kind]
	if value, err = unseal(key, value, least); err != nil {
		return damaged(id, err.Error())
	}
	switch kind {
	case kindHard:
		g.hard = decodeHard(value)
	case kindMarker:
		g.marker = decodeMarker(value)
		g.stored = g.marker
	case kindEntry:
		if index != g.last()+1 {
			return damaged(id, fmt.Sprintf("entry %d of %v follows %d", index, id, g.last()))
		}
		data := len(value) - (entryHeaderBytes - sumBytes)
		g.metas = append(g.metas, entryMeta{term: binary.LittleEndian.Uint64(value), data: uint32(data)}) //nolint:gosec // at most MaxEntryBytes
		g.bytes += overheadBytes + uint64(data)                                                           //nolint:gosec // likewise
	}
	return nil
}

// stage is a group as it will be once the batch that is being made is written.
type stage struct {
	group  *Group
	hard   raftlog.HardState
	marker raftlog.Marker
	reset  bool
	keep   uint64 // the last of the group's entries that stays; tail follows it
	tail   entries
}

func (s *stage) last() uint64 { return s.keep + uint64(len(s.tail)) }

// term needs an index from the marker to the last entry.
func (s *stage) term(index uint64) uint64 {
	switch {
	case index > s.keep:
		return s.tail[index-s.keep-1].GetTerm()
	case index == s.marker.Index:
		return s.marker.Term
	}
	return s.group.term(index)
}

// put writes what changes.
func (s *stage) put(b *storage.Batch) error {
	g, id := s.group, s.group.id
	var errs []error
	switch {
	case s.reset:
		errs = append(errs, b.DeleteRange(groupKey(kindEntry, id), entryKey(id, noIndex)), set(b, groupKey(kindMarker, id), encodeMarker(s.marker)))
	case s.last() < g.last():
		errs = append(errs, b.DeleteRange(entryKey(id, s.last()+1), entryKey(id, g.last()+1)))
	}
	for _, e := range s.tail {
		errs = append(errs, set(b, entryKey(id, e.GetIndex()), encodeEntry(e)))
	}
	if s.hard != g.hard {
		errs = append(errs, set(b, groupKey(kindHard, id), encodeHard(s.hard)))
	}
	return errors.Join(errs...)
}
