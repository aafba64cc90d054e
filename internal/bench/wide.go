package bench

import (
	"context"
	"fmt"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/flush"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
)

// wideBatch is how many rows an INSERT puts into a wide table.
const wideBatch = 1000

// makeWide makes a wide table: eight columns, of the types that segments and backups keep in different ways.
func (e *sqlEngine) makeWide(ctx context.Context, name string) (ident.TableID, error) {
	err := e.statement(ctx, "CREATE TABLE "+name+` (id BIGINT PRIMARY KEY, kind TEXT NOT NULL, amount BIGINT, score DOUBLE, flag BOOLEAN,
		at TIMESTAMP, price DECIMAL(12,2), note TEXT) WITH (TYPE = 'SHARED')`)
	if err != nil {
		return 0, err
	}
	found, ok := e.tables.Current().Table("bench", name)
	if !ok {
		return 0, fmt.Errorf("table %s is not there", name)
	}
	return found.ID, nil
}

// fillWide inserts rows with ids from first on.
func (e *sqlEngine) fillWide(ctx context.Context, name string, first, rows int) error {
	var values strings.Builder
	for from := first; from < first+rows; from += wideBatch {
		values.Reset()
		for id := from; id < from+wideBatch; id++ {
			if id > from {
				values.WriteString(", ")
			}
			fmt.Fprintf(&values, "(%d, 'kind %d', %d, %d.5, %v, %d, %d.25, 'a note of some length for row %d')", id, id%10, id*7919%1000, id%100, id%3 == 0,
				int64(id)*1_000_000, id%5000, id)
		}
		if err := e.statement(ctx, "INSERT INTO "+name+" VALUES "+values.String()); err != nil {
			return err
		}
	}
	return nil
}

// flusher makes rows cold.
func (e *sqlEngine) flusher() *flush.Worker {
	return &flush.Worker{
		Catalog: e.tables, Storage: e.store, Executor: e.direct, Cold: e.cold, Clock: clock.Real{}, Applied: multiraft.ReadApplied,
		Traffic: e.traffic,
	}
}
