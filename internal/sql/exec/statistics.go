package exec

import (
	"fmt"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// The bounds of what is known of the sizes of tables.
const (
	maxStatistics    = 4096             // scopes; an arbitrary one makes room
	statisticsAge    = 10 * time.Second // after which a size is estimated anew
	sampledRows      = 2048             // rows of which the size on disk is measured
	countedRows      = 1 << 15          // rows that are counted when nothing is on disk yet
	leastDiskRowPart = 4096             // bytes on disk below which a sample says nothing
)

// statistics holds about how many rows scopes have, and different values in columns of them, as this node sees them. They are never replicated and decide only how
// rows are found, never which. All methods may be called from any goroutine.
type statistics struct {
	clock clock.Clock

	mu      sync.Mutex // guards known and sampled
	known   map[statisticsKey]rowEstimate
	sampled map[sampleKey]sampledColumn
}

// sampleKey is a column of a scope.
type sampleKey struct {
	scope  statisticsKey
	column uint32
}

type statisticsKey struct {
	table ident.TableID
	user  ident.UserID
}

type rowEstimate struct {
	rows int64
	at   time.Time
}

func newStatistics(wall clock.Clock) *statistics {
	return &statistics{clock: wall, known: map[statisticsKey]rowEstimate{}, sampled: map[sampleKey]sampledColumn{}}
}

// rows estimates the rows of a scope.
func (s *statistics) rows(e *Engine, scope *table.Scope) (int64, error) {
	key := statisticsKey{scope.Table.ID, scope.User}
	now := s.clock.Now()
	s.mu.Lock()
	known, ok := s.known[key]
	s.mu.Unlock()
	if ok && now.Sub(known.at) < statisticsAge {
		return known.rows, nil
	}
	rows, err := e.estimateRows(scope)
	if err == nil {
		var cold int64
		cold, err = e.coldRows(scope)
		rows += cold
	}
	if err != nil {
		return 0, fmt.Errorf("estimate the rows of %s: %w", scope.Table.FullName(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for victim := range s.known {
		if len(s.known) < maxStatistics {
			break
		}
		delete(s.known, victim)
	}
	s.known[key] = rowEstimate{rows, now}
	return rows, nil
}

// estimateRows counts the first rows of a scope, and infers the others from the room that they take on disk. Rows that
// are not on disk yet are counted, up to a bound.
func (e *Engine) estimateRows(scope *table.Scope) (rows int64, err error) {
	low, high := keys.UserTableSpan(scope.Group, scope.Table.ID, scope.User)
	it, err := e.deps.Storage.Scan(low, high)
	if err != nil {
		return 0, err
	}
	defer func() {
		if failure := it.Close(); err == nil {
			err = failure
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		rows++
		if rows%sampledRows != 0 {
			continue
		}
		sample, err := e.deps.Storage.DiskBytes(low, it.Key())
		if err != nil {
			return 0, err
		}
		all, err := e.deps.Storage.DiskBytes(low, high)
		if err != nil {
			return 0, err
		}
		if sample > leastDiskRowPart && all >= sample {
			return int64(float64(rows) * float64(all) / float64(sample)), nil
		}
		if rows >= countedRows {
			return rows, nil
		}
	}
	return rows, it.Err()
}

// coldRows counts the rows of a scope's segments, those that newer ones hide included.
func (e *Engine) coldRows(scope *table.Scope) (rows int64, err error) {
	view, err := scope.View(e.deps.Storage)
	if err != nil || view == nil {
		return 0, err
	}
	for _, segment := range view.Manifest().GetSegments() {
		rows += int64(segment.GetRows()) //nolint:gosec // a count of rows
	}
	return rows, nil
}
