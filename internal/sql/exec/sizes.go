package exec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// The bounds of a sample of the values of a column.
const (
	samplePlaces  = 16  // of the key space of a table, at even distances
	sampleStretch = 128 // rows that follow one another and are read at each place
	maxSampled    = 256 // columns of a scope of which something is known
	sampleAge     = time.Minute
)

// tableSizes answers the planner's questions about tables. What it says is an estimate of this node: it decides in which order
// tables are joined, and is never replicated. It belongs to one planning.
type tableSizes struct {
	engine  *Engine
	catalog *catalog.Catalog
	asked   bool // the plan depends on sizes, which change
}

// scope finds the rows of a table and owner; ok is false before the cluster is founded.
func (s *tableSizes) scope(t *schema.Table, user ident.UserID) (scope table.Scope, ok bool) {
	if t.Kind == schema.KindShared {
		scope = table.SharedScope(t)
	} else {
		cluster := s.catalog.Cluster()
		if cluster == nil {
			return table.Scope{}, false
		}
		scope = table.UserScope(t, cluster.Shards, user)
	}
	scope.Cold = s.engine.deps.Cold
	return scope, true
}

// Rows implements plan.Sizes. A failure to estimate is no failure of the statement, which may never read the table.
func (s *tableSizes) Rows(t *schema.Table, user ident.UserID) (float64, bool) {
	s.asked = true
	scope, ok := s.scope(t, user)
	if !ok {
		return 0, false
	}
	rows, err := s.engine.statistics.rows(s.engine, &scope)
	return float64(rows), s.known(t, err)
}

// Distinct implements plan.Sizes.
func (s *tableSizes) Distinct(t *schema.Table, user ident.UserID, position int) (float64, bool) {
	scope, ok := s.scope(t, user)
	if !ok {
		return 0, false
	}
	values, ok, err := s.engine.statistics.distinct(s.engine, &scope, position)
	return values, s.known(t, err) && ok
}

func (s *tableSizes) known(t *schema.Table, err error) bool {
	if err != nil && !errors.Is(err, schema.ErrAltered) {
		s.engine.deps.Logger.Warn("the size of a table could not be estimated", slog.String("table", t.FullName()), slog.Any("error", err))
	}
	return err == nil
}

// sampledColumn is the number of different values of a column, and when it was estimated.
type sampledColumn struct {
	values float64
	ok     bool
	at     time.Time
}

// distinct estimates the different values of a column of a scope. ok is false when there are no hot
// rows and the bounds of the others do not say it.
func (s *statistics) distinct(e *Engine, scope *table.Scope, position int) (values float64, ok bool, err error) {
	key := sampleKey{statisticsKey{scope.Table.ID, scope.User}, scope.Table.Columns[position].ID}
	now := s.clock.Now()
	s.mu.Lock()
	known, found := s.sampled[key]
	s.mu.Unlock()
	if found && now.Sub(known.at) < sampleAge {
		return known.values, known.ok, nil
	}
	rows, err := s.rows(e, scope)
	if err != nil {
		return 0, false, err
	}
	sample, err := e.sample(scope, position)
	if err != nil {
		return 0, false, fmt.Errorf("sample %s: %w", scope.Table.FullName(), err)
	}
	known = sampledColumn{values: sample.distinct(float64(rows)), ok: sample.rows > 0, at: now}
	most, bounded, err := e.coldDistinct(scope, position)
	if err != nil {
		return 0, false, fmt.Errorf("bounds of the flushed rows of %s: %w", scope.Table.FullName(), err)
	}
	switch {
	case bounded && !known.ok: // all rows are in segments
		known.values, known.ok = min(most, float64(rows)), true
	case bounded:
		known.values = min(known.values, most+float64(len(sample.counts)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for victim := range s.sampled {
		if len(s.sampled) < maxSampled {
			break
		}
		delete(s.sampled, victim)
	}
	s.sampled[key] = known
	return known.values, known.ok, nil
}

// columnSample counts the values of some rows.
type columnSample struct {
	rows   int
	counts map[string]int
}

// distinct infers the different values of all rows. Values that the sample has once stand for the square root of as many rows
// as each row of the sample stands for: between all of them being different and all of them being the same, the error is the
// smallest that can be promised.
func (c *columnSample) distinct(rows float64) float64 {
	if c.rows == 0 {
		return 0
	}
	once := 0.0
	for _, count := range c.counts {
		if count == 1 {
			once++
		}
	}
	scale := max(1, rows/float64(c.rows))
	return min(rows, float64(len(c.counts))-once+once*math.Sqrt(scale))
}

// sample reads values of a column at even distances of the key space. A small table is read whole.
func (e *Engine) sample(scope *table.Scope, position int) (found columnSample, err error) {
	found.counts = map[string]int{}
	low, high := keys.UserTableSpan(scope.Group, scope.Table.ID, scope.User)
	it, err := e.deps.Storage.Scan(low, high)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.Last() {
		return found, it.Err()
	}
	last := bytes.Clone(it.Key())
	if !it.First() {
		return found, it.Err()
	}
	first := bytes.Clone(it.Key())
	decoder := schema.NewRowDecoder(scope.Table, []int{position})
	row := make([]datum.Datum, len(scope.Table.Columns)+2)
	var behind []byte // the last key that was read
	for place := range samplePlaces {
		seek := between(first, last, place)
		if behind != nil && bytes.Compare(seek, behind) <= 0 {
			seek = append(behind, 0)
		}
		ok := it.SeekGE(seek)
		for n := 0; ok && n < sampleStretch; n++ {
			if err := found.add(it, decoder, row, position); err != nil {
				return found, err
			}
			behind = append(behind[:0], it.Key()...)
			ok = it.Next()
		}
		if !ok {
			break
		}
	}
	return found, it.Err()
}

// add counts the value of the row under an iterator.
func (c *columnSample) add(it *storage.Iterator, decoder *schema.RowDecoder, row []datum.Datum, position int) error {
	stored, err := it.Value()
	if err != nil {
		return err
	}
	_, deleted, encoded, err := rowvalue.Decode(stored)
	if err != nil || deleted {
		return err
	}
	if err = decoder.Decode(encoded, row); err != nil {
		return err
	}
	c.rows++
	c.counts[string(datum.AppendKey(nil, row[position]))]++
	return nil
}

// between is the key at a sixteenth after another of the way from one key to the next, taken as numbers that begin where the keys
// differ.
func between(first, last []byte, place int) []byte {
	same := 0
	for same < len(first) && same < len(last) && first[same] == last[same] {
		same++
	}
	var from, to [8]byte
	copy(from[:], first[same:])
	copy(to[:], last[same:])
	a, b := binary.BigEndian.Uint64(from[:]), binary.BigEndian.Uint64(to[:])
	if place == 0 || b <= a {
		return first
	}
	return binary.BigEndian.AppendUint64(bytes.Clone(first[:same]), a+(b-a)/samplePlaces*uint64(place)) //nolint:gosec // at most 16
}
