package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// maxSpans bounds the ranges of an index that one scan reads: further columns of an index do not narrow a scan that has
// more.
const maxSpans = 1024

// IndexChoice is an index by which the rows of a scan may be found.
type IndexChoice struct {
	Index *schema.Index
	// positions are those of the leading columns of the index of which the condition says something: that each of
	// them equals one of some values, and the last one of ranged ones lies in a range.
	positions []int
	names     []string
	equal     int // the number of columns that equal something
}

// String names the index and the columns that narrow the scan.
func (c *IndexChoice) String() string {
	return fmt.Sprintf("%s(%s)", c.Index.Name, strings.Join(c.names, ", "))
}

// chooseIndex finds the index whose leading columns the condition compares with values: the one with the most columns
// that equal something, then the one with a range behind them. The primary key is better when it equals something, or
// when there are only ranges.
func (s *Scan) chooseIndex() *IndexChoice {
	key := s.Table.PrimaryKey()
	if key < 0 || s.IncludeDeleted || s.Condition == nil || len(s.Table.Indexes) == 0 {
		return nil
	}
	conditions := expr.Conjuncts(s.Condition)
	keyEquals, keyRanges := constrained(conditions, key)
	if keyEquals {
		return nil
	}
	var best *IndexChoice
	for i := range s.Table.Indexes {
		x := &s.Table.Indexes[i]
		positions, ok := s.Table.Positions(x)
		if x.State != schema.IndexReady || !ok {
			continue
		}
		choice := s.chosen(x, positions, conditions)
		if choice == nil || choice.equal == 0 && keyRanges {
			continue
		}
		if best == nil || choice.equal > best.equal || choice.equal == best.equal && len(choice.positions) > len(best.positions) {
			best = choice
		}
	}
	return best
}

// chosen says how far conditions narrow an index; nil when they do not.
func (s *Scan) chosen(x *schema.Index, positions []int, conditions []expr.Expr) *IndexChoice {
	choice := &IndexChoice{Index: x}
	for _, position := range positions {
		column := &s.Table.Columns[position]
		if !ordered(column.Type.Kind) {
			break
		}
		equals, ranges := constrained(conditions, position)
		if !equals && !ranges {
			break
		}
		choice.positions = append(choice.positions, position)
		choice.names = append(choice.names, column.Name)
		if !equals {
			break
		}
		choice.equal++
	}
	if len(choice.positions) == 0 {
		return nil
	}
	return choice
}

// constrained reports whether conditions say that a column equals one of some values or is NULL, or lies in a range.
func constrained(conditions []expr.Expr, position int) (equals, ranges bool) {
	for _, condition := range conditions {
		equals = equals || expr.IsNullTest(condition, position)
		if bound, ok := expr.KeyConstraint(condition, position); ok {
			equals = equals || bound.Points != nil
			ranges = ranges || bound.Points == nil
		}
	}
	return equals, ranges
}

// ordered reports whether values of a kind are looked up by their encoding.
func ordered(kind datum.Kind) bool {
	return kind.IsInteger() || kind.IsFloat() || slices.Contains([]datum.Kind{
		datum.Boolean, datum.Decimal, datum.Text, datum.Bytes, datum.UUID, datum.Timestamp, datum.DateTime, datum.Date, datum.Time,
	}, kind)
}

// Spans returns the ranges of the index that hold every row of the scan which satisfies its condition, given an evaluation
// context with the values of parameters. It reports false when these values leave the index nothing to narrow, or cannot
// be computed: the condition fails then where, and if, it is tested.
func (c *IndexChoice) Spans(s *Scan, ctx *expr.EvalContext) (spans []table.Span, ok bool) {
	prefixes := [][]byte{nil}
	for _, position := range c.positions {
		if isNull(s.Condition, position) {
			prefixes = extended(prefixes, []datum.Datum{{}})
			ok = true
			continue
		}
		keyRange, err := expr.KeyRangeOf(s.Condition, position, s.Table.Columns[position].Type, ctx)
		if err != nil {
			return nil, false
		}
		if keyRange.IsPoints {
			if len(prefixes)*len(keyRange.Points) > maxSpans {
				break
			}
			prefixes = extended(prefixes, keyRange.Points)
			ok = true
			continue
		}
		if keyRange.IsFull() {
			break
		}
		for _, prefix := range prefixes {
			spans = append(spans, rangeSpan(prefix, &keyRange))
		}
		return spans, true
	}
	for _, prefix := range prefixes {
		spans = append(spans, table.Span{Low: prefix, High: keys.PrefixEnd(prefix)})
	}
	return spans, ok
}

// isNull reports whether a condition says that a column is NULL.
func isNull(condition expr.Expr, position int) bool {
	return slices.ContainsFunc(expr.Conjuncts(condition), func(e expr.Expr) bool { return expr.IsNullTest(e, position) })
}

// extended appends each value to each prefix.
func extended(prefixes [][]byte, values []datum.Datum) [][]byte {
	longer := make([][]byte, 0, len(prefixes)*len(values))
	for _, prefix := range prefixes {
		for _, value := range values {
			longer = append(longer, datum.AppendKey(slices.Clip(prefix), value))
		}
	}
	return longer
}

// rangeSpan is the span of the entries that start with a prefix and go on with a value in a range. NULL lies in no range;
// it comes after every value.
func rangeSpan(prefix []byte, keyRange *expr.KeyRange) table.Span {
	span := table.Span{Low: prefix, High: datum.AppendKey(slices.Clip(prefix), datum.Datum{})}
	if !keyRange.Low.IsNull() {
		span.Low = datum.AppendKey(slices.Clip(prefix), keyRange.Low)
		if !keyRange.LowInclusive {
			span.Low = keys.PrefixEnd(span.Low)
		}
	}
	if !keyRange.High.IsNull() {
		span.High = datum.AppendKey(slices.Clip(prefix), keyRange.High)
		if keyRange.HighInclusive {
			span.High = keys.PrefixEnd(span.High)
		}
	}
	return span
}
