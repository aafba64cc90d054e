package pairlog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// Inspect is raftlog.Inspect of this log: it verifies every byte of one that nobody has open, and changes nothing. Segments are the
// files of the store's tables and of its write-ahead log, records the pairs. An empty directory has none, and is no damage.
func Inspect(fsys disk.FS, dir string, store ident.StoreID) (found raftlog.Inspection, err error) {
	names, err := fsys.List(dir)
	if err != nil {
		return found, fmt.Errorf("pairlog: list %s: %w", dir, err)
	}
	if len(names) == 0 {
		return found, nil
	}
	i := inspector{log: &Log{cfg: Config{FS: fsys, Dir: dir, StoreID: store}, groups: make(map[shard.GroupID]*Group)}, broken: make(map[shard.GroupID]bool)}
	i.damage(lostWrites(i.log.cfg))
	i.damage(storage.VerifyWrites(fsys, dir))
	engine, files, err := storage.Inspect(storage.Options{FS: fsys, Dir: dir, WriteAhead: true})
	if engine != nil {
		i.log.store = engine
		defer func() { err = errors.Join(err, engine.Close()) }()
	}
	if err != nil {
		return found, fmt.Errorf("pairlog: %w", err)
	}
	i.found.Segments, i.found.Bytes = files.Tables, files.Bytes
	for _, e := range files.Damage {
		i.damage(&raftlog.DamageError{Reason: fmt.Sprintf("%s: %v", e.Path, e.Err)})
	}
	for _, e := range files.Notes {
		i.found.Notes = append(i.found.Notes, fmt.Sprintf("%s: %v", e.Path, e.Err))
	}
	for _, name := range names {
		if strings.HasSuffix(name, storage.WritesSuffix) {
			info, err := fsys.Stat(fsys.PathJoin(dir, name))
			if err != nil {
				return found, fmt.Errorf("pairlog: %w", err)
			}
			i.found.Segments++
			i.found.Bytes += info.Size()
		}
	}
	if engine != nil {
		i.damage(i.pairs())
	}
	return i.found, nil
}

// inspector carries what is known from one pair to the next.
type inspector struct {
	log    *Log
	broken map[shard.GroupID]bool // has damage that was told
	found  raftlog.Inspection
}

// damage takes an error for what it says; nil is none.
func (i *inspector) damage(err error) {
	if err == nil {
		return
	}
	found := (*raftlog.DamageError)(nil)
	if !errors.As(err, &found) {
		found = &raftlog.DamageError{Reason: err.Error()}
	}
	i.found.Damage = append(i.found.Damage, found)
}

// pairs looks at every pair. Of each group that is damaged it tells the first finding.
func (i *inspector) pairs() error {
	value, ok, err := i.log.store.Get(stampKey())
	if err == nil && !ok {
		err = errStampMissing
	} else if err == nil {
		i.found.Records++
		err = i.log.checkStamp(value)
	}
	i.damage(err)
	it, err := i.log.store.Scan([]byte{kindHard}, nil)
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		i.found.Records++
		if value, err = it.Value(); err == nil {
			i.pair(it.Key(), value)
		}
	}
	if err = errors.Join(err, it.Close()); err != nil {
		return err
	}
	for _, id := range i.log.Groups() {
		g := i.log.Group(id)
		if !i.broken[id] {
			i.damage(g.checkCommit())
		}
		i.found.Groups = append(i.found.Groups, raftlog.InspectedGroup{Group: id, Hard: g.hard, Marker: g.marker, Last: g.last()})
	}
	if len(i.found.Damage) > 0 {
		i.found.Groups = nil
	}
	return nil
}

func (i *inspector) pair(key, value []byte) {
	_, id, _, err := parseKey(key)
	if err != nil {
		i.damage(err)
		return
	}
	if i.broken[id] {
		return
	}
	if err := i.log.loadPair(key, value); err != nil {
		i.broken[id] = true
		i.damage(err)
	}
}
