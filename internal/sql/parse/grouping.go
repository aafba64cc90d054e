package parse

// GroupingSets stands in GROUP BY, and nowhere else: GROUPING SETS (..), ROLLUP (..), CUBE (..), or () for the group of all rows.
// Items of ROLLUP and CUBE are expressions, or a *Row of several that come and go together; those of GROUPING SETS may be
// *GroupingSets too.
type GroupingSets struct {
	Pos
	Kind  GroupingKind
	Items []Expr
}

// GroupingKind says how the items of a GroupingSets make sets.
type GroupingKind uint8

// The kinds of grouping sets.
const (
	GroupingList   GroupingKind = iota // GROUPING SETS: the sets of each item
	GroupingRollup                     // all items, all but the last, .., none
	GroupingCube                       // every choice of items
	GroupingEmpty                      // (): no items
)

func (*GroupingSets) expression() {}

// groupBy reads GROUP BY if it is in hand.
func (p *parser) groupBy(body *Select) {
	if !p.word("group") {
		return
	}
	p.expectWord("by")
	if p.word("distinct") {
		body.GroupDistinct = true
	} else {
		p.word("all")
	}
	body.GroupBy = p.groupingItems(p.groupingItem)
}

// groupingItems reads a list of items.
func (p *parser) groupingItems(item func() Expr) []Expr {
	list := []Expr{item()}
	for p.another(len(list)) {
		list = append(list, item())
	}
	return list
}

// groupingItem reads an item of GROUP BY, or of GROUPING SETS.
func (p *parser) groupingItem() Expr {
	sets := &GroupingSets{Pos: p.token.pos}
	item := p.expression
	switch {
	case p.is("(") && p.peekIs(")"):
		p.advance()
		p.advance()
		sets.Kind = GroupingEmpty
		return sets
	case p.isWord("grouping") && p.peekWord("sets"):
		p.advance()
		item = p.groupingItem
	case p.isWord("rollup") && p.peekIs("("):
		sets.Kind = GroupingRollup
	case p.isWord("cube") && p.peekIs("("):
		sets.Kind = GroupingCube
	default:
		return p.expression()
	}
	p.enter()
	defer p.leave()
	p.advance()
	p.expect("(")
	sets.Items = p.groupingItems(item)
	p.expect(")")
	return sets
}

// groupingSets adds what groupingItem reads.
func (w *printer) groupingSets(e *GroupingSets) {
	w.text([...]string{"GROUPING SETS (", "ROLLUP (", "CUBE (", "("}[e.Kind&3])
	w.expressions(e.Items)
	w.text(")")
}
