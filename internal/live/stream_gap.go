package live

import (
	"errors"
	"log/slog"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// reread goes to the change log for what the feed no longer has: the stream fell behind, or a snapshot
// replaced the state of the group.
func (s *stream) reread(position uint64) error {
	snapshot := s.service.config.Store.NewSnapshot()
	defer snapshot.Close() //nolint:errcheck // nothing was written
	err := changelog.Check(snapshot, s.group, position)
	if errors.Is(err, changelog.ErrTooOld) {
		position, err = s.skip(snapshot, position)
	}
	if err != nil {
		return err
	}
	var list []changefeed.Change
	var r run
	err = changelog.Read(snapshot, s.group, position, nil, func(change changefeed.Change) bool {
		if r.full(&change) {
			s.process(list)
			list, r = list[:0], run{}
			r.full(&change)
		}
		list = append(list, change)
		return true
	})
	if err != nil {
		return err
	}
	s.process(list)
	return nil
}

// skip ends the subscriptions that missed something, moves the stream to where the log begins and returns that position. The others
// missed nothing, but may be told of what comes behind it: one that began with rows that the stream had not come to is further than the stream.
func (s *stream) skip(snapshot changelogReader, position uint64) (uint64, error) {
	state, err := changelog.Describe(snapshot, s.group)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, index := range s.scopes {
		missed := changelog.CheckScope(snapshot, s.group, key.table, key.user, position)
		if missed == nil {
			continue
		}
		for _, sub := range index.all() {
			gone := missed
			if sub.position > position {
				gone = changelog.CheckScope(snapshot, s.group, key.table, key.user, sub.position)
			}
			if gone != nil {
				s.end(sub, judge(gone, CodeFailed))
			}
		}
	}
	// A result is not made of single changes, so none is missing from it.
	for _, list := range s.views {
		for _, v := range list {
			v.soil()
		}
	}
	s.position = max(s.position, state.Floor)
	return s.position, nil
}

// abandon ends everybody: the store cannot be read.
func (s *stream) abandon(err error) {
	s.service.config.Logger.Error("live queries cannot follow their group", slog.String("group", s.group.String()), slog.Any("error", err))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, index := range s.scopes {
		for _, sub := range index.all() {
			s.end(sub, judge(err, CodeFailed))
		}
	}
	for _, list := range s.views {
		for _, v := range slices.Clone(list) {
			v.fail(judge(err, CodeFailed))
		}
	}
}

// endTable ends the subscriptions to a dropped table.
func (s *stream) endTable(table ident.TableID) {
	for key, index := range s.scopes {
		if key.table != table {
			continue
		}
		for _, sub := range index.all() {
			s.end(sub, refuse(CodeNotFound, "the table was dropped"))
		}
	}
	for key, list := range s.views {
		for _, v := range slices.Clone(list) {
			if key.table == table {
				v.fail(refuse(CodeNotFound, "the table was dropped"))
			}
		}
	}
}
