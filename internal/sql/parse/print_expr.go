package parse

// binding returns the strength of an expression's outermost operator.
func binding(expr Expr) int {
	switch e := expr.(type) {
	case *Logical:
		if e.Or {
			return bindOr
		}
		return bindAnd
	case *Not:
		return bindNot
	case *Is, *IsDistinct:
		return bindIs
	case *In, *Between, *Like:
		return bindPattern
	case *Quantified:
		if strength := operatorBinding(string(e.Op)); strength != bindNothing {
			return strength
		}
		return bindPattern
	case *Binary:
		return operatorBinding(string(e.Op))
	case *Unary:
		if e.Op == "~" {
			return bindOther
		}
		return bindSign
	case *IntegerLiteral:
		if e.Value < 0 {
			return bindSign
		}
	case *DecimalLiteral:
		if e.Text != "" && e.Text[0] == '-' {
			return bindSign
		}
	case *Cast:
		if !e.Try {
			return bindPostfix
		}
	case *Subscript:
		return bindPostfix
	case *Collate:
		return bindCollate
	case *FuncCall:
		if isZoneCall(e) {
			return bindZone
		}
	}
	return bindAtom
}

// isZoneCall reports whether a call is printed as AT TIME ZONE.
func isZoneCall(call *FuncCall) bool {
	return call.Name.Name == "timezone" && call.Name.Namespace == "" && len(call.Args) == 2 && !call.Distinct &&
		call.OrderBy == nil && call.WithinGroup == nil && call.Filter == nil && call.Over == nil
}

// expression adds an expression, in parentheses when it binds weaker than the place demands.
func (w *printer) expression(expr Expr, strength int) {
	if binding(expr) < strength {
		w.text("(")
		w.bare(expr)
		w.text(")")
		return
	}
	w.bare(expr)
}

// bare adds an expression without parentheses around it.
func (w *printer) bare(expr Expr) {
	switch e := expr.(type) {
	case *Unary:
		w.text(string(e.Op))
		w.sign(e)
	case *Not:
		w.text("NOT ")
		w.expression(e.Expr, bindNot)
	case *Binary:
		strength := binding(e)
		left := strength
		if strength == bindComparison {
			left++
		}
		w.expression(e.Left, left)
		w.text(" " + string(e.Op) + " ")
		w.expression(e.Right, strength+1)
	case *Logical:
		w.logical(e)
	case *Cast:
		w.cast(e)
	case *Subscript:
		w.subscript(e)
	case *Field:
		w.field(e)
	case *Collate:
		w.expression(e.Expr, bindCollate)
		w.text(" COLLATE ")
		w.object(e.Collation)
	case *FuncCall:
		w.funcCall(e)
	case *Case:
		w.choice(e)
	case *Exists:
		w.text("EXISTS ")
		w.parenthesised(e.Query)
	case *Subquery:
		w.parenthesised(e.Query)
	case *Array:
		w.array(e)
	case *Row:
		w.row(e, len(e.Elements) < 2)
	case *GroupingSets:
		w.groupingSets(e)
	default:
		if !w.test(expr) {
			w.constant(expr)
		}
	}
}

// sign adds the operand of a prefix operator. A repeated operator is kept apart from the first; anything
// else that is not stronger goes in parentheses.
func (w *printer) sign(e *Unary) {
	if inner, ok := e.Expr.(*Unary); ok && inner.Op == e.Op {
		w.text(" ")
		w.bare(inner)
		return
	}
	if e.Op == "~" {
		w.text(" ")
		w.expression(e.Expr, bindOther+1)
		return
	}
	w.expression(e.Expr, bindSign+1)
}

// logical adds a chain of AND or OR.
func (w *printer) logical(e *Logical) {
	word := " AND "
	if e.Or {
		word = " OR "
	}
	for i, operand := range e.Operands {
		w.when(i > 0, word)
		w.expression(operand, binding(e)+1)
	}
}

// cast adds x::type, or TRY_CAST.
func (w *printer) cast(e *Cast) {
	if e.Try {
		w.text("TRY_CAST(")
		w.expression(e.Expr, bindNothing)
		w.text(" AS ")
		w.typeName(e.Type)
		w.text(")")
		return
	}
	w.expression(e.Expr, bindPostfix)
	w.text("::")
	w.typeName(e.Type)
}

// subscript adds x[i] or x[low:high]. A cast in front would take the brackets for those of an array type.
func (w *printer) subscript(e *Subscript) {
	if _, chained := e.Expr.(*Subscript); chained {
		w.bare(e.Expr)
	} else {
		w.expression(e.Expr, bindAtom)
	}
	w.text("[")
	if e.Index != nil {
		w.expression(e.Index, bindNothing)
	}
	w.when(e.Slice, " : ")
	if e.High != nil {
		w.expression(e.High, bindNothing)
	}
	w.text("]")
}

// field adds (x).name.
func (w *printer) field(e *Field) {
	if _, chained := e.Expr.(*Field); chained {
		w.bare(e.Expr)
	} else if _, query := e.Expr.(*Subquery); query {
		w.bare(e.Expr)
	} else {
		w.text("(")
		w.bare(e.Expr)
		w.text(")")
	}
	w.text(".")
	w.name(e.Name)
}

// choice adds CASE .. END.
func (w *printer) choice(e *Case) {
	w.text("CASE")
	if e.Operand != nil {
		w.text(" ")
		w.expression(e.Operand, bindNothing)
	}
	for _, branch := range e.Whens {
		w.text(" WHEN ")
		w.expression(branch.Condition, bindNothing)
		w.text(" THEN ")
		w.expression(branch.Result, bindNothing)
	}
	if e.Else != nil {
		w.text(" ELSE ")
		w.expression(e.Else, bindNothing)
	}
	w.text(" END")
}

// array adds ARRAY[..] or ARRAY(query). Nested arrays are written with ARRAY too.
func (w *printer) array(e *Array) {
	w.text("ARRAY")
	if e.Query != nil {
		w.parenthesised(e.Query)
		return
	}
	w.text("[")
	w.expressions(e.Elements)
	w.text("]")
}

// row adds (a, b), or ROW(..).
func (w *printer) row(e *Row, keyword bool) {
	w.when(keyword, "ROW")
	w.text("(")
	w.expressions(e.Elements)
	w.text(")")
}

// expressions adds expressions separated by commas.
func (w *printer) expressions(list []Expr) {
	for i, item := range list {
		w.separated(i)
		w.expression(item, bindNothing)
	}
}

// parenthesised adds (query).
func (w *printer) parenthesised(query *Query) {
	w.text("(")
	w.query(query)
	w.text(")")
}

// constant adds literals and names.
func (w *printer) constant(expr Expr) {
	switch e := expr.(type) {
	case *NullLiteral:
		w.text("NULL")
	case *BoolLiteral:
		if e.Value {
			w.text("TRUE")
		} else {
			w.text("FALSE")
		}
	case *IntegerLiteral:
		w.integer(e.Value)
	case *DecimalLiteral:
		w.text(e.Text)
	case *StringLiteral:
		w.literal(e.Value)
	case *BytesLiteral:
		w.text("X'")
		w.hex(e.Value)
		w.text("'")
	case *TypedLiteral:
		w.typeName(e.Type)
		w.text(" ")
		w.literal(e.Value)
	case *IntervalLiteral:
		w.interval(e)
	case *Param:
		w.text("$")
		w.integer(int64(e.Index))
	case *DefaultValue:
		w.text("DEFAULT")
	case *ColumnRef:
		w.path(e.Catalog, e.Namespace, e.Table)
		w.name(e.Name)
	case *Star:
		w.path(e.Catalog, e.Namespace, e.Table)
		w.text("*")
	}
}

// path adds the parts in front of a column, each with a point behind it.
func (w *printer) path(parts ...string) {
	for _, part := range parts {
		if part != "" {
			w.name(part)
			w.text(".")
		}
	}
}

// interval adds an INTERVAL literal.
func (w *printer) interval(e *IntervalLiteral) {
	w.text("INTERVAL")
	if e.Precision >= 0 {
		w.text("(")
		w.integer(int64(e.Precision))
		w.text(")")
	}
	w.text(" ")
	w.literal(e.Value)
	w.when(e.Fields != "", " "+upper(e.Fields))
}
