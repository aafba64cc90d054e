package parse

// test adds a predicate, or reports that the expression is none.
func (w *printer) test(expr Expr) bool {
	switch e := expr.(type) {
	case *Quantified:
		w.quantified(e)
	case *In:
		w.in(e)
	case *Between:
		w.expression(e.Expr, bindPattern+1)
		w.not(e.Not)
		w.text(" BETWEEN ")
		w.when(e.Symmetric, "SYMMETRIC ")
		w.expression(e.Low, bindPattern+1)
		w.text(" AND ")
		w.expression(e.High, bindPattern+1)
	case *Like:
		w.like(e)
	case *Is:
		w.expression(e.Expr, bindIs+1)
		w.text(" IS")
		w.not(e.Not)
		w.text([...]string{" NULL", " TRUE", " FALSE", " UNKNOWN"}[e.Kind&3])
	case *IsDistinct:
		w.expression(e.Left, bindIs+1)
		w.text(" IS")
		w.not(e.Not)
		w.text(" DISTINCT FROM ")
		w.expression(e.Right, bindIs+1)
	default:
		return false
	}
	return true
}

// not adds NOT with a space in front.
func (w *printer) not(not bool) { w.when(not, " NOT") }

// quantified adds x op ANY (..). The left operand of a comparison must bind stronger than it.
func (w *printer) quantified(e *Quantified) {
	left := binding(e)
	if left == bindComparison || left == bindPattern {
		left++
	}
	w.expression(e.Left, left)
	w.text(" " + string(e.Op))
	if e.All {
		w.text(" ALL (")
	} else {
		w.text(" ANY (")
	}
	if e.Query != nil {
		w.query(e.Query)
	} else {
		w.expression(e.Array, bindNothing)
	}
	w.text(")")
}

// in adds x IN (..).
func (w *printer) in(e *In) {
	w.expression(e.Expr, bindPattern+1)
	w.not(e.Not)
	w.text(" IN (")
	if e.Query != nil {
		w.query(e.Query)
	} else {
		w.expressions(e.List)
	}
	w.text(")")
}

// like adds LIKE and its kin.
func (w *printer) like(e *Like) {
	w.expression(e.Expr, bindPattern+1)
	w.not(e.Not)
	w.text([...]string{" LIKE ", " ILIKE ", " SIMILAR TO ", " LIKE "}[e.Kind&3])
	w.expression(e.Pattern, bindPattern+1)
	if e.Escape != nil {
		w.text(" ESCAPE ")
		w.expression(e.Escape, bindPattern+1)
	}
}

// funcCall adds a call, or the AT TIME ZONE that it stands for.
func (w *printer) funcCall(e *FuncCall) {
	if isZoneCall(e) {
		w.expression(e.Args[1], bindZone)
		w.text(" AT TIME ZONE ")
		w.expression(e.Args[0], bindZone+1)
		return
	}
	switch {
	case e.Name.Namespace != "" || e.Distinct || e.Star || e.OrderBy != nil || e.WithinGroup != nil || e.Filter != nil || e.Over != nil:
	case len(e.Args) == 0 && isNiladic(e.Name.Name):
		w.text(e.Name.Name) // PostgreSQL knows no parentheses behind it
		return
	case e.Name.Name == "extract" && len(e.Args) == 2:
		if field, ok := e.Args[0].(*StringLiteral); ok && isField(field.Value) {
			w.text("EXTRACT(")
			w.literal(field.Value)
			w.text(" FROM ")
			w.expression(e.Args[1], bindNothing)
			w.text(")")
			return
		}
	}
	w.call(e)
}

// isField reports whether a text is read as the field of EXTRACT as it is.
func isField(text string) bool {
	return text != "" && len(text) <= MaxIdentifierBytes && foldName(text) == text
}

// call adds name(arguments) and what follows.
func (w *printer) call(e *FuncCall) {
	w.functionName(e)
	w.text("(")
	w.when(e.Star, "*")
	w.when(e.Distinct, "DISTINCT ")
	w.expressions(e.Args)
	w.orderBy(e.OrderBy)
	w.text(")")
	if e.WithinGroup != nil {
		w.text(" WITHIN GROUP (")
		w.orderItems(e.WithinGroup)
		w.text(")")
	}
	if e.Filter != nil {
		w.text(" FILTER (WHERE ")
		w.expression(e.Filter, bindNothing)
		w.text(")")
	}
	if e.Over != nil {
		w.text(" OVER ")
		if e.Over.Name != "" {
			w.name(e.Over.Name)
		} else {
			w.window(e.Over)
		}
	}
}

// orderItems adds ORDER BY and its items without a space in front.
func (w *printer) orderItems(list []OrderItem) {
	for i, item := range list {
		w.when(i == 0, "ORDER BY ")
		w.separated(i)
		w.orderItem(item)
	}
}

// functionName adds the name of a function. Names that begin a notation are bare only where their comma
// form is read as a plain call.
func (w *printer) functionName(e *FuncCall) {
	name := e.Name.Name
	bare := isNiladic(name)
	if name == "extract" || name == "substring" {
		bare = len(e.Args) > 0 && !e.Distinct && !e.Star && e.OrderBy == nil
	}
	switch {
	case e.Name.Namespace == "" && bare:
		w.text(name)
		return
	case e.Name.Namespace == "" && (name == "rollup" || name == "cube"):
		w.quoted(name, '"') // GROUP BY would take it for grouping sets
		return
	}
	w.object(e.Name)
}

// window adds a window specification in parentheses.
func (w *printer) window(e *Window) {
	w.text("(")
	start := len(w.buffer)
	if e.Base != "" {
		w.name(e.Base)
	}
	if e.PartitionBy != nil {
		w.when(len(w.buffer) > start, " ")
		w.text("PARTITION BY ")
		w.expressions(e.PartitionBy)
	}
	if e.OrderBy != nil {
		w.when(len(w.buffer) > start, " ")
		w.orderItems(e.OrderBy)
	}
	if e.Frame != nil {
		w.when(len(w.buffer) > start, " ")
		w.frame(e.Frame)
	}
	w.text(")")
}

// frame adds the frame of a window.
func (w *printer) frame(e *Frame) {
	w.text([...]string{"ROWS", "RANGE", "GROUPS", "ROWS"}[e.Mode&3])
	w.text(" BETWEEN ")
	w.frameBound(e.Start)
	w.text(" AND ")
	w.frameBound(e.End)
	w.text([...]string{"", " EXCLUDE CURRENT ROW", " EXCLUDE GROUP", " EXCLUDE TIES"}[e.Exclude&3])
}

// frameBound adds one end of a frame.
func (w *printer) frameBound(e FrameBound) {
	switch e.Kind { //nolint:exhaustive // the others need nothing here
	case UnboundedPreceding:
		w.text("UNBOUNDED PRECEDING")
	case CurrentRow:
		w.text("CURRENT ROW")
	case UnboundedFollowing:
		w.text("UNBOUNDED FOLLOWING")
	default:
		w.expression(e.Offset, bindAnd+1)
		if e.Kind == OffsetPreceding {
			w.text(" PRECEDING")
		} else {
			w.text(" FOLLOWING")
		}
	}
}
