package server

import (
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	"github.com/kalamdb/kalamdb-go/internal/storage/scopevalue"
)

// stateChecker looks at the keys and values of one store.
type stateChecker struct {
	*checker
	engine  *storage.Engine
	catalog *catalog.Store
	schemas map[ident.TableID]*tableChecker

	group   shard.GroupID
	applied uint64
	rows    uint64
}

// tableChecker decodes rows of one table.
type tableChecker struct {
	table   *schema.Table
	decoder *schema.RowDecoder
	row     []datum.Datum
}

// checkState verifies that everything in the store can be decoded, lies where it belongs, and fits the log.
func (c *checker) checkState(engine *storage.Engine, logged map[shard.GroupID]raftlog.InspectedGroup) {
	s := &stateChecker{checker: c, engine: engine, catalog: catalog.NewStore(), schemas: make(map[ident.TableID]*tableChecker)}
	groups := c.identity.Shards.Groups()
	if applied, err := multiraft.ReadApplied(engine, shard.Local); err != nil || applied > 0 {
		groups = append(groups, shard.Local)
	}
	for _, group := range groups {
		s.checkGroup(group, logged)
	}
	s.checkStrangers(groups)
}

func (s *stateChecker) checkGroup(group shard.GroupID, logged map[shard.GroupID]raftlog.InspectedGroup) {
	s.group, s.rows = group, 0
	out := CheckedGroup{Group: group.String()}
	applied, err := multiraft.ReadApplied(s.engine, group)
	if err != nil {
		s.wrong(err)
		return
	}
	s.applied, out.Applied = applied, applied
	s.checkMachine()
	lo, hi := keys.GroupSpan(group)
	before := s.report.Damage
	if out.Keys, err = s.scan(lo, hi); err != nil {
		s.wrong(err)
	} else if s.report.Damage == before {
		if _, digest, err := rowvalue.SpanDigest(s.engine, lo, hi); err != nil {
			s.wrong(err)
		} else {
			out.Digest = fmt.Sprintf("%016x", digest)
		}
	}
	out.Rows = s.rows
	s.report.Tables.Keys += out.Keys
	if g, ok := logged[group]; ok {
		out.First, out.Last, out.Commit, out.Term = g.Marker.Index+1, g.Last, g.Hard.Commit, g.Hard.Term
	}
	if logged != nil {
		s.compare(out, logged[group].Marker.Index)
	}
	s.report.Groups = append(s.report.Groups, out)
}

// compare judges whether the log goes on where the state ends.
func (s *stateChecker) compare(g CheckedGroup, marker uint64) {
	switch {
	case g.Applied < marker:
		s.wrong(fmt.Errorf("the state ends at index %d, but the log starts after %d: entries between them are missing", g.Applied, marker))
	case g.Applied == 0 && g.Last == 0:
		s.note("state", g.Group, "the node never received this group")
	case g.Applied > g.Last:
		s.note("state", g.Group, fmt.Sprintf("the state ends at index %d, behind the log, which ends at %d, as after a snapshot", g.Applied, g.Last))
	}
}

func (s *stateChecker) wrong(err error) { s.damage("state", s.group.String(), err.Error()) }

// checkMachine lets the state machine read what it reads at every start: the catalog, remembered requests, markers.
func (s *stateChecker) checkMachine() {
	machine, err := statemachine.NewWith(s.group, s.catalog, statemachine.Options{RequestWindow: s.identity.Window})
	if err == nil {
		err = machine.Restore(s.engine)
	}
	if err != nil {
		s.wrong(err)
		return
	}
	if s.group != shard.Meta {
		if err := changelog.Read(s.engine, s.group, 0, nil, s.checkChange); err != nil {
			s.wrong(err)
		}
		return
	}
	_, live := catalog.LoadLiveJobs(s.engine)
	_, done := catalog.LoadDoneJobs(s.engine)
	_, schedules := catalog.LoadSchedules(s.engine)
	_, audit := catalog.LoadAudit(s.engine)
	for _, err := range []error{live, done, schedules, audit} {
		if err != nil {
			s.wrong(err)
		}
	}
}

func (s *stateChecker) checkChange(change changefeed.Change) bool {
	if index := command.SeqIndex(change.Seq); index > s.applied {
		s.wrong(fmt.Errorf("a change of index %d is kept, but only %d is applied", index, s.applied))
		return false
	}
	return true
}

// scan looks at every key of a span.
func (s *stateChecker) scan(lo, hi []byte) (count uint64, err error) {
	it, err := s.engine.Scan(lo, hi)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		if err != nil {
			return count, err
		}
		count++
		if err := s.checkKey(it.Key(), value); err != nil {
			s.wrong(fmt.Errorf("key %x: %w", it.Key(), err))
		}
	}
	return count, it.Err()
}

func (s *stateChecker) checkKey(key, value []byte) error {
	_, kind, _, err := keys.Split(key)
	if err != nil {
		return err
	}
	switch kind {
	case keys.KindRow:
		return s.checkRow(key, value)
	case keys.KindScope:
		if _, err := keys.ParseScope(key); err != nil {
			return err
		}
		write, err := scopevalue.Decode(value)
		if err == nil && write.Index > s.applied {
			err = fmt.Errorf("a scope was written at index %d, but only %d is applied", write.Index, s.applied)
		}
		return err
	case keys.KindIndex:
		_, err := keys.ParseIndexEntry(key)
		return err
	case keys.KindApplied, keys.KindDedup, keys.KindPurged, keys.KindChange, keys.KindChanges, keys.KindRetention, keys.KindMark, keys.KindForgotten,
		keys.KindFence, keys.KindRestore:
		return nil // read by checkMachine
	case keys.KindManifest:
		return s.checkManifest(key, value)
	case keys.KindCluster, keys.KindNamespace, keys.KindTable, keys.KindUser, keys.KindMember, keys.KindCleanup,
		keys.KindSequence, keys.KindView, keys.KindJob, keys.KindJobDone, keys.KindJobKey, keys.KindSchedule, keys.KindStorage, keys.KindAudit, keys.KindBackup,
		keys.KindVersion:
		if s.group != shard.Meta {
			return fmt.Errorf("a key of the meta group (kind %#x)", byte(kind))
		}
		return nil // read by checkMachine
	}
	return fmt.Errorf("kind %#x is not known to this program", byte(kind))
}

// checkRow decodes a row under the schema of its table, and looks whether it is where it belongs.
func (s *stateChecker) checkRow(key, value []byte) error {
	s.rows++
	row, err := keys.ParseRow(key)
	if err != nil {
		return err
	}
	seq, deleted, encoded, err := rowvalue.Decode(value)
	if err != nil {
		return err
	}
	if index := command.SeqIndex(seq); index > s.applied {
		return fmt.Errorf("a row of index %d, but only %d is applied", index, s.applied)
	}
	if row.User == "" && s.group.Class() != shard.ClassShared {
		return errors.New("a row without a user in a group for private rows")
	}
	if home := s.identity.Shards.RouteUser(row.User); row.User != "" && home != s.group && s.group != shard.Local {
		return fmt.Errorf("the row belongs to %s", home)
	}
	table := s.tableOf(row.Table)
	if table == nil || deleted {
		return nil // dropped, and not purged yet
	}
	err = table.decoder.Decode(encoded, table.row)
	if errors.Is(err, schema.ErrAltered) {
		return nil // this replica's catalog is behind
	}
	return err
}

func (s *stateChecker) tableOf(id ident.TableID) *tableChecker {
	if known, ok := s.schemas[id]; ok {
		return known
	}
	var made *tableChecker
	if table, ok := s.catalog.Current().TableByID(id); ok {
		made = &tableChecker{table: table, decoder: schema.NewRowDecoder(table, nil), row: make([]datum.Datum, len(table.Columns))}
	}
	s.schemas[id] = made
	return made
}

// checkStrangers looks for keys of no group of this cluster.
func (s *stateChecker) checkStrangers(groups []shard.GroupID) {
	var from []byte
	for i := 0; i <= len(groups); i++ {
		var lo, hi []byte
		if i < len(groups) {
			lo, hi = keys.GroupSpan(groups[i])
		}
		it, err := s.engine.Scan(from, lo)
		if err != nil {
			s.damage("state", "", err.Error())
			return
		}
		if it.First() {
			s.damage("state", "", fmt.Sprintf("key %x belongs to no group of this cluster", it.Key()))
		}
		if err := it.Close(); err != nil {
			s.damage("state", "", err.Error())
		}
		from = hi
	}
}
