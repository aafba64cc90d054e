package exec

import (
	"context"
	"errors"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// endingContext ends when it has been asked a few times whether it has ended.
type endingContext struct {
	context.Context
	left int
}

func (c *endingContext) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestWindowsStop lets frames leave out all their rows, so that each row of the partition looks at all others: the function must ask
// whether it is still wanted within one row.
func TestWindowsStop(t *testing.T) {
	t.Parallel()
	const rows = 10_000
	frame := &expr.Frame{
		Start: expr.FrameBound{Kind: parse.UnboundedPreceding}, End: expr.FrameBound{Kind: parse.UnboundedFollowing},
		Exclude: parse.ExcludeGroup,
	}
	for _, name := range []string{"first_value", "last_value", "nth_value"} {
		w := &windowRun{call: &expr.WindowCall{Name: name, Frame: frame}, width: 0, target: 0}
		for i := range rows {
			w.rows = append(w.rows, make([]datum.Datum, 1))
			w.part = append(w.part, windowPlace{row: i, args: []datum.Datum{datum.NewBigInt(1), datum.NewBigInt(1)}})
		}
		w.countGroups()
		ctx := &endingContext{Context: t.Context(), left: 3}
		if err := w.partition(ctx); !errors.Is(err, context.Canceled) || ctx.left < -1 {
			t.Errorf("%s: %v, and the context was asked %d times after its end", name, err, -1-ctx.left)
		}
	}
}
