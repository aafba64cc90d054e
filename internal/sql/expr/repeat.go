package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Some forms are bound as others that compute a value several times: CASE with an operand once for each WHEN, BETWEEN for both bounds, NULLIF,
// OVERLAPS, and comparisons of rows. Within each other they multiply, so that a short text would take longer than anybody waits.

// maxRepeated is how many operations an expression may compute again.
const maxRepeated = 100_000

// repeat notes that expressions are computed so many times more than they were written. A plain column or value costs nothing.
func (b *binder) repeat(times int, nodes []parse.Expr, exprs ...Expr) error {
	for i, e := range exprs {
		size := -1
		Walk(e, func(Expr) bool {
			size++
			return size <= maxRepeated
		})
		if err := b.repeats(nodes[i], size, times); err != nil {
			return err
		}
	}
	return nil
}

// respell is repeat for what is bound that many times more.
func (b *binder) respell(node parse.Expr, times int) error {
	size := -1
	parse.Inspect(node, func(parse.Node) bool {
		size++
		return size <= maxRepeated
	})
	return b.repeats(node, size, times)
}

func (b *binder) repeats(node parse.Expr, size, times int) error {
	if b.repeated += max(size, 0) * max(times, 0); b.repeated > maxRepeated {
		return faultAt(node, fault.LimitExceeded, "CASE, BETWEEN, NULLIF, OVERLAPS or comparisons of rows within each other compute this more than %d times; "+
			"compute it in a query in FROM, and refer to that", maxRepeated)
	}
	return nil
}
