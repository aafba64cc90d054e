package plan

import (
	"math"
	"math/bits"

	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
)

// The bounds of the search for an order of joins, and what is taken to be true of what nobody has counted.
const (
	maxSearchedJoins = 10   // inputs of which every order is looked at; of more, the cheapest next one is taken again and again
	maxOrderedJoins  = 32   // inputs beyond which the written order stays
	leastJoinCost    = 8192 // of the written order, in rows that are touched; below it there is nothing to be gained
	leastJoinGain    = 1.25 // how many times cheaper another order must be
	aheadRows        = 1024 // left rows up to which a right table is read by the keys of those rows
	lookupCost       = 16   // rows gone through in the time in which one is read by its key
	buildCost        = 2    // the same for a row that is kept and found by its key

	rangePart     = 1.0 / 3  // of the rows of a column that a range keeps
	unknownPart   = 1.0 / 4  // of the rows that another condition keeps
	nullPart      = 1.0 / 20 // of the rows that IS NULL keeps
	defaultRows   = 1000     // of what nothing is known about
	groupPart     = 1.0 / 10 // of the rows that GROUP BY and DISTINCT leave
	leastDistinct = 1
)

// estimate is about how many rows a node gives, and how many are gone through to find them.
type estimate struct {
	rows, read float64
	known      bool // all tables below have been counted
}

// estimated sizes up a node.
func (e *Environment) estimated(node Node) estimate {
	switch n := node.(type) {
	case *Scan:
		rows, ok := e.Sizes.Rows(n.Table, e.owner(n.Table))
		if !ok {
			return estimate{rows: defaultRows, read: defaultRows}
		}
		kept, read := e.kept(n, rows)
		return estimate{rows: kept, read: read, known: true}
	case *Filter:
		in := e.estimated(n.Input)
		for range expr.Conjuncts(n.Condition) {
			in.rows *= unknownPart
		}
		return in
	case *Project:
		return e.estimated(n.Input)
	case *Sort:
		return e.estimated(n.Input)
	case *Window:
		return e.estimated(n.Input)
	case *Shared:
		if n.size == nil {
			n.size = new(e.estimated(n.Input))
		}
		return *n.size
	case *Limit:
		in := e.estimated(n.Input)
		if value, ok := constant(n.Count); ok {
			in.rows = min(in.rows, value)
		}
		return in
	case *Aggregate:
		in := e.estimated(n.Input)
		if in.rows *= groupPart; len(n.Grouping.Keys) == 0 {
			in.rows = 1
		}
		return in
	case *Distinct:
		in := e.estimated(n.Input)
		in.rows *= groupPart
		return in
	case *Join:
		left, right := e.estimated(n.Left), e.estimated(n.Right)
		rows := max(left.rows, right.rows)
		if len(n.LeftKeys) == 0 {
			rows = left.rows * right.rows
		}
		return estimate{rows: rows, read: left.read + right.read, known: left.known && right.known}
	case *SetOperation:
		left, right := e.estimated(n.Left), e.estimated(n.Right)
		return estimate{rows: left.rows + right.rows, read: left.read + right.read, known: left.known && right.known}
	case *Rows:
		return estimate{rows: float64(len(n.Values)), read: float64(len(n.Values)), known: true}
	}
	return estimate{rows: defaultRows, read: defaultRows}
}

func constant(e expr.Expr) (float64, bool) {
	if e == nil {
		return 0, false
	}
	value, ok := expr.ConstValue(e)
	if !ok || value.IsNull() || !value.Kind().IsInteger() {
		return 0, false
	}
	return float64(value.Int()), true
}

// kept estimates how many of a table's rows the condition of a scan keeps, and how many are read when keys and indexes are used.
func (e *Environment) kept(s *Scan, rows float64) (kept, read float64) {
	kept, read = rows, rows
	for _, condition := range expr.Conjuncts(s.Condition) {
		part, position := unknownPart, -1
		for column := range expr.Columns(condition, nil) {
			position = column
		}
		if position >= 0 {
			if bound, ok := expr.KeyConstraint(condition, position); ok {
				part = rangePart
				if bound.Points != nil {
					part = min(1, float64(len(bound.Points))/e.distinct(s, position, rows))
				}
			} else if expr.IsNullTest(condition, position) {
				part = nullPart
			}
			if position == s.Table.PrimaryKey() || s.Table.LeadsIndex(position) {
				read = min(read, max(1, rows*part*lookupCost))
			}
		}
		kept *= part
	}
	return max(kept, leastDistinct), min(rows, read)
}

// distinct estimates the different values of a column.
func (e *Environment) distinct(s *Scan, position int, rows float64) float64 {
	if position >= len(s.Table.Columns) {
		return max(rows, leastDistinct)
	}
	if s.Table.UniqueColumn(position) {
		return max(rows, leastDistinct)
	}
	if values, ok := e.Sizes.Distinct(s.Table, e.owner(s.Table), position); ok {
		return max(values, leastDistinct)
	}
	return max(rows*groupPart, leastDistinct)
}

// keyValues estimates the different values of an expression over rows of a node.
func (e *Environment) keyValues(node Node, key expr.Expr, rows float64) float64 {
	place, plain := expr.ColumnPosition(key)
	if !plain {
		return max(rows*groupPart, leastDistinct)
	}
	switch n := node.(type) {
	case *Scan:
		all, _ := e.Sizes.Rows(n.Table, e.owner(n.Table))
		return min(e.distinct(n, place, all), max(rows, leastDistinct))
	case *Filter:
		return e.keyValues(n.Input, key, rows)
	case *Project:
		return e.keyValues(n.Input, n.Exprs[place], rows)
	}
	return max(rows, leastDistinct)
}

// joinGraph is what the search for an order works on: inputs by their number, and sets of them as bits.
type joinGraph struct {
	inputs []estimate
	parts  []joinPart
}

type joinPart struct {
	inputs uint64
	kept   float64 // of the pairs, the part for which it holds
	keys   bool    // whether equal values find the pairs
	byKey  uint64  // those of its inputs that are tables of which the rows with a value are found without reading the others
	// ascends and unique are those of its inputs whose rows come in the order of the key, and that have no key twice: two such
	// inputs are gone through side by side.
	ascends, unique uint64
}

// graph sizes up a chain; nil when something in it has not been counted.
func (e *Environment) graph(c *joinChain) *joinGraph {
	g := &joinGraph{}
	for _, in := range c.inputs {
		size := e.estimated(in.node)
		if !size.known {
			return nil
		}
		g.inputs = append(g.inputs, size)
	}
	for _, part := range c.parts {
		p := joinPart{kept: rangePart}
		for position := range expr.Columns(part, nil) {
			p.inputs |= 1 << c.inputAt(position)
		}
		if bits.OnesCount64(p.inputs) == 2 {
			e.match(c, g, part, &p)
		}
		g.parts = append(g.parts, p)
	}
	return g
}

// inputAt is the number of the input that a position belongs to.
func (c *joinChain) inputAt(position int) int {
	number := 0
	for i := range c.inputs {
		if position >= c.inputs[i].offset {
			number = i
		}
	}
	return number
}

// match sizes up a condition on two inputs.
func (e *Environment) match(c *joinChain, g *joinGraph, part expr.Expr, p *joinPart) {
	first, second := bits.TrailingZeros64(p.inputs), 63-bits.LeadingZeros64(p.inputs)
	left, right, ok := expr.JoinKey(part, c.inputs[second].offset)
	if !ok {
		return
	}
	if left, ok = expr.Shift(left, -c.inputs[first].offset); !ok {
		return
	}
	values := 1.0
	for _, side := range []struct {
		number int
		key    expr.Expr
	}{{first, left}, {second, right}} {
		node := c.inputs[side.number].node
		values = max(values, e.keyValues(node, side.key, g.inputs[side.number].rows))
		if scan, isScan := node.(*Scan); isScan && scan.findsBy(side.key) {
			p.byKey |= 1 << side.number
		}
		if place, plain := expr.ColumnPosition(side.key); plain {
			ascends, unique := ascending(node, place)
			p.ascends |= bit(ascends) << side.number
			p.unique |= bit(unique) << side.number
		}
	}
	p.kept, p.keys = 1/values, true
}

func bit(is bool) uint64 {
	if is {
		return 1
	}
	return 0
}

// findsBy reports whether the rows with a value are found without reading the others.
func (s *Scan) findsBy(key expr.Expr) bool {
	place, plain := expr.ColumnPosition(key)
	return plain && (place == s.Table.PrimaryKey() || s.Table.LeadsIndex(place))
}

// rows estimates what a set of inputs gives when it is joined, in whatever order.
func (g *joinGraph) rows(set uint64) float64 {
	rows := 1.0
	for i, in := range g.inputs {
		if set&(1<<i) != 0 {
			rows *= in.rows
		}
	}
	for _, part := range g.parts {
		if part.inputs&^set == 0 {
			rows *= part.kept
		}
	}
	return max(rows, leastDistinct)
}

// step is what it costs to join one more input to a set whose rows are known.
func (g *joinGraph) step(set uint64, rows float64, next int) (cost, joined float64) {
	joined = g.rows(set | 1<<next)
	keys, byKey, sideBySide := 0, false, false
	for _, part := range g.parts {
		if part.keys && part.inputs&(1<<next) != 0 && part.inputs&^(set|1<<next) == 0 {
			keys++
			byKey = byKey || part.byKey&(1<<next) != 0
			sideBySide = part.ascends == part.inputs && part.unique&(1<<next) != 0 && bits.OnesCount64(set) == 1
		}
	}
	in := g.inputs[next]
	switch {
	case keys == 0:
		return in.read + in.rows + rows*in.rows + joined, joined
	case rows <= aheadRows && byKey:
		return min(in.read, rows*lookupCost) + joined, joined
	case rows <= aheadRows: // only what matches one of them is kept
		return in.read + rows + joined*buildCost + joined, joined
	case sideBySide && keys == 1: // nothing is kept
		return in.read + in.rows + rows + joined, joined
	}
	return in.read + in.rows*buildCost + rows + joined, joined
}

// cost is that of an order.
func (g *joinGraph) cost(order []int) float64 {
	set, rows := uint64(1)<<order[0], g.inputs[order[0]].rows
	total := g.inputs[order[0]].read
	for _, next := range order[1:] {
		cost, joined := g.step(set, rows, next)
		total, set, rows = total+cost, set|1<<next, joined
	}
	return total
}

// order finds the order of a chain that costs least; nil when the written one is about as good.
func (e *Environment) order(c *joinChain) []int {
	if e.Sizes == nil || len(c.inputs) > maxOrderedJoins {
		return nil
	}
	g := e.graph(c)
	if g == nil {
		return nil
	}
	written := make([]int, len(c.inputs))
	for i := range written {
		written[i] = i
	}
	now := g.cost(written)
	if now < leastJoinCost {
		return nil
	}
	best := g.greedy()
	if len(written) <= maxSearchedJoins {
		best = g.search()
	}
	if g.cost(best)*leastJoinGain > now {
		return nil
	}
	return best
}

// search looks at all orders: the cheapest one of each set is the cheapest one of the set without some last input.
func (g *joinGraph) search() []int {
	sets := uint64(1) << len(g.inputs)
	costs, last, rows := make([]float64, sets), make([]int, sets), make([]float64, sets)
	for set := uint64(1); set < sets; set++ {
		costs[set], rows[set] = math.Inf(1), g.rows(set)
		if bits.OnesCount64(set) == 1 {
			last[set] = bits.TrailingZeros64(set)
			costs[set] = g.inputs[last[set]].read
			continue
		}
		for next := range g.inputs {
			before := set &^ (1 << next)
			if before == set {
				continue
			}
			if cost, _ := g.step(before, rows[before], next); costs[before]+cost < costs[set] {
				costs[set], last[set] = costs[before]+cost, next
			}
		}
	}
	order := make([]int, len(g.inputs))
	set := sets - 1
	for i := len(order) - 1; i >= 0; i-- {
		order[i] = last[set]
		set &^= 1 << last[set]
	}
	return order
}

// greedy begins with each input and goes on with the cheapest next one; the best of these orders is returned.
func (g *joinGraph) greedy() []int {
	var best []int
	least := math.Inf(1)
	for first := range g.inputs {
		order, set, rows := []int{first}, uint64(1)<<first, g.inputs[first].rows
		for len(order) < len(g.inputs) {
			chosen, cheapest, joined := -1, math.Inf(1), 0.0
			for next := range g.inputs {
				if set&(1<<next) != 0 {
					continue
				}
				if cost, after := g.step(set, rows, next); chosen < 0 || cost < cheapest {
					chosen, cheapest, joined = next, cost, after
				}
			}
			order, set, rows = append(order, chosen), set|1<<chosen, joined
		}
		if cost := g.cost(order); cost < least {
			best, least = order, cost
		}
	}
	return best
}
