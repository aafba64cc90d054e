package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// IndexOrder is an index that gives the first rows of an ordering of a scan without going through all of them.
type IndexOrder struct {
	// Choice holds what the condition says about the columns of the index that come before the ordering, each of which must
	// equal one value, and about the first column of the ordering.
	Choice *IndexChoice
	// Keys is how many leading keys of the ordering the index has.
	Keys int
	// Backwards says that the index is read from its end.
	Backwards bool
}

// String names the index and the columns that it orders by.
func (o *IndexOrder) String() string {
	text := o.Choice.Index.Name
	if o.Backwards {
		text += " backwards"
	}
	return text
}

// Span is the one range of the index in which the ordering holds. It reports false when the values of parameters leave
// more than one, or cannot be computed.
func (o *IndexOrder) Span(s *Scan, ctx *expr.EvalContext) (span table.Span, ok bool) {
	if len(o.Choice.positions) == 0 {
		return table.Span{}, true
	}
	spans, ok := o.Choice.Spans(s, ctx)
	if !ok || len(spans) != 1 {
		return table.Span{}, false
	}
	return spans[0], true
}

// chooseOrder finds the index that has the most leading keys of an ordering, behind columns that the condition compares with
// one value each. NULLs are the last entries of an index.
func (s *Scan) chooseOrder(keys []expr.Order) *IndexOrder {
	if len(keys) == 0 || s.Table.PrimaryKey() < 0 || s.IncludeDeleted || keys[0].Descending != keys[0].NullsFirst {
		return nil
	}
	conditions := expr.Conjuncts(s.Condition)
	var best *IndexOrder
	for i := range s.Table.Indexes {
		x := &s.Table.Indexes[i]
		positions, ok := s.Table.Positions(x)
		if x.State != schema.IndexReady || !ok {
			continue
		}
		if found := s.orders(x, positions, conditions, keys); found != nil && (best == nil || found.Keys > best.Keys) {
			best = found
		}
	}
	return best
}

// orders says how far an index gives an ordering; nil when it does not.
func (s *Scan) orders(x *schema.Index, positions []int, conditions []expr.Expr, keys []expr.Order) *IndexOrder {
	found := &IndexOrder{Choice: &IndexChoice{Index: x}, Backwards: keys[0].Descending}
	for _, position := range positions {
		if !ordered(s.Table.Columns[position].Type.Kind) {
			break
		}
		equals, ranges := constrained(conditions, position)
		place, plain := -1, false
		if found.Keys < len(keys) && keys[found.Keys].Descending == found.Backwards && keys[found.Keys].NullsFirst == found.Backwards {
			place, plain = expr.ColumnPosition(keys[found.Keys].Expr)
		}
		switch {
		case plain && place == position:
			if found.Keys == 0 && (equals || ranges) {
				found.Choice.add(s.Table, position)
			}
			found.Keys++
		case found.Keys == 0 && equals:
			found.Choice.add(s.Table, position)
		default:
			return found.ifUseful()
		}
	}
	return found.ifUseful()
}

func (o *IndexOrder) ifUseful() *IndexOrder {
	if o.Keys == 0 {
		return nil
	}
	return o
}

// add appends a column of which the condition says something.
func (c *IndexChoice) add(t *schema.Table, position int) {
	c.positions = append(c.positions, position)
	c.names = append(c.names, t.Columns[position].Name)
}

// withoutSort leaves a sort out whose input is in order by itself: a scan by its primary key, of which no two are equal.
func withoutSort(node Node) Node {
	sort, ok := node.(*Sort)
	if !ok {
		return node
	}
	scan, ok := sort.Input.(*Scan)
	if !ok || sort.Keys[0].Descending {
		return node
	}
	place, plain := expr.ColumnPosition(sort.Keys[0].Expr)
	if plain && place == scan.Table.PrimaryKey() && ordered(scan.Table.Columns[place].Type.Kind) {
		return scan
	}
	return node
}

// PartnerIndex is an index by which the right rows of a join are found for each of a few left ones.
type PartnerIndex struct {
	Index *schema.Index
	Keys  []int // which key of the join each leading column of the index is
}

// choosePartners finds the index whose leading columns are the most keys of a join. The primary key is better.
func (j *Join) choosePartners() *PartnerIndex {
	scan, ok := j.Right.(*Scan)
	if !ok || scan.IncludeDeleted || scan.Table.PrimaryKey() < 0 {
		return nil
	}
	byPosition := map[int]int{}
	for i, key := range j.RightKeys {
		if place, plain := expr.ColumnPosition(key); plain {
			byPosition[place] = i
		}
	}
	if _, byKey := byPosition[scan.Table.PrimaryKey()]; byKey {
		return nil
	}
	var best *PartnerIndex
	for i := range scan.Table.Indexes {
		x := &scan.Table.Indexes[i]
		positions, ok := scan.Table.Positions(x)
		if x.State != schema.IndexReady || !ok {
			continue
		}
		found := &PartnerIndex{Index: x}
		for _, position := range positions {
			key, known := byPosition[position]
			if !known || !ordered(scan.Table.Columns[position].Type.Kind) {
				break
			}
			found.Keys = append(found.Keys, key)
		}
		if len(found.Keys) > 0 && (best == nil || len(found.Keys) > len(best.Keys)) {
			best = found
		}
	}
	return best
}
