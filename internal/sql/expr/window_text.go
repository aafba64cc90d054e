package expr

import "strings"

// String prints the call in a canonical form: two calls with the same text have the same result.
func (c *WindowCall) String() string {
	var b strings.Builder
	if c.Aggregate != nil {
		b.WriteString(c.Aggregate.String())
	} else {
		b.WriteString(c.Name + "(" + joinExprs(c.Args, ", ") + ")")
	}
	b.WriteString(" OVER (" + strings.Join(c.windowTexts(), " ") + ")")
	return b.String()
}

func (c *WindowCall) windowTexts() []string {
	var parts []string
	if len(c.PartitionBy) > 0 {
		parts = append(parts, "PARTITION BY "+joinExprs(c.PartitionBy, ", "))
	}
	if len(c.OrderBy) > 0 {
		items := make([]string, len(c.OrderBy))
		for i, item := range c.OrderBy {
			items[i] = item.String()
		}
		parts = append(parts, "ORDER BY "+strings.Join(items, ", "))
	}
	if c.Frame != nil {
		parts = append(parts, "FRAME "+itoa(int(c.Frame.Mode)), c.Frame.Start.String(), c.Frame.End.String(), "EXCLUDE "+itoa(int(c.Frame.Exclude)))
	}
	return parts
}

// String prints the bound in a canonical form.
func (b *FrameBound) String() string {
	if b.Offset == nil {
		return itoa(int(b.Kind))
	}
	return itoa(int(b.Kind)) + " (" + b.Offset.String() + ")"
}

// operands are all expressions of the call.
func (c *WindowCall) operands() []Expr {
	list := append(append([]Expr{}, c.Args...), c.PartitionBy...)
	for i := range c.OrderBy {
		list = append(list, c.OrderBy[i].Expr)
	}
	if c.Aggregate != nil && c.Aggregate.Filter != nil {
		list = append(list, c.Aggregate.Filter)
	}
	return list
}

// find returns the place of a call that gives the same values, or -1. One that makes new values each time is like no other.
func (w *Windows) find(call *WindowCall) int {
	for _, e := range call.operands() {
		if !MayMove(e) {
			return -1
		}
	}
	text := call.String()
	for i, known := range w.Calls {
		if known.String() == text {
			return i
		}
	}
	return -1
}
