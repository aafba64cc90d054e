package plan

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// joinInput is one side of a chain of inner joins.
type joinInput struct {
	node   Node
	offset int // of its values in the row of the whole chain
	within []expr.Expr
}

// joinChain is a chain of inner joins taken apart: ((a, b), c) is the inputs a, b and c.
type joinChain struct {
	inputs []joinInput
	parts  []expr.Expr // what must hold, over the row of the whole chain
	width  int
}

// gather takes the left sides of a join apart as long as they are inner joins themselves. A right side that is one keeps its
// place: what stands in parentheses need not be connected to what is before it.
func (c *joinChain) gather(n *Join) {
	if left, ok := n.Left.(*Join); ok && left.isInner() {
		c.gather(left)
	} else {
		c.inputs = append(c.inputs, joinInput{node: n.Left})
		c.width = n.Left.Width()
	}
	c.inputs = append(c.inputs, joinInput{node: n.Right, offset: c.width})
	c.width += n.Right.Width()
	c.parts = append(c.parts, n.parts...)
}

// inner rewrites a chain of inner joins: what a condition says about one input goes into it, and the inputs are joined in the
// order that costs least.
func (o *optimizer) inner(n *Join, conditions []expr.Expr) Node {
	c := &joinChain{}
	c.gather(n)
	c.parts = append(c.parts, conditions...)
	c.distribute(o)
	for i := range c.inputs {
		in := &c.inputs[i]
		in.node = o.rewrite(in.node, in.within)
	}
	if order := o.env.order(c); order != nil {
		if reordered := c.reordered(order); reordered != nil {
			return reordered
		}
	}
	return c.build(c.inputs, c.parts)
}

// distribute moves the conditions that read one input only into it.
func (c *joinChain) distribute(o *optimizer) {
	for i := range c.inputs {
		in := &c.inputs[i]
		in.within, c.parts = o.split(c.parts, func(condition expr.Expr) (expr.Expr, bool) {
			if !reads(condition, in.offset+in.node.Width()) {
				return nil, false
			}
			return behind(condition, in.offset)
		})
	}
}

// build joins inputs one after the other. Each condition, over the row of all inputs in this order, is tested as soon as all that
// it reads is there.
func (c *joinChain) build(inputs []joinInput, parts []expr.Expr) Node {
	root := inputs[0].node
	for i, in := range inputs[1:] {
		next := &Join{Left: root, Right: in.node, Kind: parse.InnerJoin}
		var later []expr.Expr
		for _, part := range parts {
			if i+2 == len(inputs) || reads(part, next.Width()) {
				next.hold(part)
			} else {
				later = append(later, part)
			}
		}
		if parts = later; len(next.parts) == 0 {
			next.Kind = parse.CrossJoin
		}
		root = next
	}
	return root
}

// hold adds a condition on matching pairs of this very join.
func (j *Join) hold(part expr.Expr) {
	j.parts = append(j.parts, part)
	left, right, ok := expr.JoinKey(part, j.Left.Width())
	if !ok {
		j.Condition = and(j.Condition, part)
		return
	}
	j.LeftKeys = append(j.LeftKeys, left)
	j.RightKeys = append(j.RightKeys, right)
}

// reordered joins the inputs in another order and puts their values back into the places that expressions above know. It is nil
// when a condition reads its row in a way that cannot be moved.
func (c *joinChain) reordered(order []int) Node {
	inputs := make([]joinInput, len(order))
	places := make([]int, c.width) // where a value of the written order stands now
	offset := 0
	for i, number := range order {
		in := c.inputs[number]
		for k := range in.node.Width() {
			places[in.offset+k] = offset + k
		}
		in.offset = offset
		offset += in.node.Width()
		inputs[i] = in
	}
	parts := make([]expr.Expr, len(c.parts))
	for i, part := range c.parts {
		moved, ok := expr.Rearrange(part, places)
		if !ok {
			return nil
		}
		parts[i] = moved
	}
	types := c.types()
	if types == nil {
		return nil
	}
	back := make([]expr.Expr, c.width)
	for i, place := range places {
		back[i] = expr.NewColumn(place, types[i].Type, types[i].Name)
	}
	return &Project{Input: c.build(inputs, parts), Exprs: back}
}

// types are the columns of the row of the whole chain; nil when those of an input are not known.
func (c *joinChain) types() []Column {
	var all []Column
	for _, in := range c.inputs {
		columns := columnsIn(in.node)
		if columns == nil {
			return nil
		}
		all = append(all, columns...)
	}
	return all
}

// columnsIn are the names and types of a node's values; nil when they are not known.
func columnsIn(node Node) []Column {
	switch n := node.(type) {
	case *Scan:
		columns := make([]Column, 0, n.Width())
		for i := range n.Table.Columns {
			columns = append(columns, Column{Name: n.Table.Columns[i].Name, Type: n.Table.Columns[i].Type})
		}
		return append(columns, Column{Name: schema.SeqColumn, Type: datum.Of(datum.BigInt)},
			Column{Name: schema.DeletedColumn, Type: datum.Of(datum.Boolean)})
	case *Project:
		columns := make([]Column, len(n.Exprs))
		for i, e := range n.Exprs {
			columns[i] = Column{Name: expr.ColumnName(e), Type: e.Type()}
		}
		return columns
	case *Filter:
		return columnsIn(n.Input)
	case *Sort:
		return columnsIn(n.Input)
	case *Limit:
		return columnsIn(n.Input)
	case *Distinct:
		return columnsIn(n.Input)
	case *Shared:
		return columnsIn(n.Input)
	case *Join:
		left, right := columnsIn(n.Left), columnsIn(n.Right)
		if left == nil || right == nil {
			return nil
		}
		return slices.Concat(left, right)
	}
	return nil
}
