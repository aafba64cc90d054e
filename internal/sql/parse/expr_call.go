package parse

// call reads the parentheses of a call and what follows them.
func (p *parser) call(name ObjectName) Expr {
	call := &FuncCall{Pos: name.Pos, Name: name}
	p.expect("(")
	switch {
	case p.is("*") && p.peekIs(")"):
		p.advance()
		call.Star = true
	case !p.is(")"):
		if p.word("distinct") {
			call.Distinct = true
		} else {
			p.word("all")
		}
		p.refuseNamed()
		call.Args = p.arguments()
		call.OrderBy = p.orderBy()
		p.refuseBehind(call)
	}
	p.expect(")")
	if p.token.kind == tokenString && isTypeWord(name.Name) && name.Namespace == "" {
		return p.literalOfCall(call)
	}
	return p.callSuffix(call)
}

// refuseNamed refuses VARIADIC and the name of an argument.
func (p *parser) refuseNamed() {
	switch {
	case p.isWord("variadic") && !p.peekIs(",") && !p.peekIs(")"):
		failUnsupported(p.token.pos, refusedSpread)
	case p.isName() && (p.peekIs("=>") || p.peekIs(":=")):
		failUnsupported(p.token.pos, refusedNamed)
	}
}

// refuseBehind refuses the same behind the first argument.
func (p *parser) refuseBehind(call *FuncCall) {
	last, isName := call.Args[len(call.Args)-1].(*ColumnRef)
	switch {
	case p.is("=>") || p.is(":="):
		failUnsupported(p.token.pos, refusedNamed)
	case isName && last.Name == "variadic" && last.Table == "" && !p.is(")"):
		failUnsupported(last.Pos, refusedSpread)
	}
}

// literalOfCall turns what looked like a call into a typed literal with arguments: TIMESTAMP(3) '..'.
func (p *parser) literalOfCall(call *FuncCall) Expr {
	literal := &TypedLiteral{Pos: call.Pos, Value: p.token.text}
	literal.Type = TypeName{Pos: call.Pos, Name: call.Name.Name}
	for _, argument := range call.Args {
		number, ok := argument.(*IntegerLiteral)
		if !ok || number.Value < 0 || number.Value > maxTypeArgument || call.Distinct || len(call.OrderBy) > 0 {
			p.unexpected("an operator")
		}
		literal.Type.Args = append(literal.Type.Args, int(number.Value))
	}
	if len(literal.Type.Args) == 0 {
		p.unexpected("an operator")
	}
	p.advance()
	return literal
}

// callSuffix reads WITHIN GROUP, FILTER and OVER behind a call.
func (p *parser) callSuffix(call *FuncCall) Expr {
	if p.token.kind != tokenWord {
		return call
	}
	if p.words("within", "group") {
		p.expect("(")
		call.WithinGroup = p.orderBy()
		if call.WithinGroup == nil {
			p.unexpected("ORDER BY")
		}
		p.expect(")")
	}
	if p.isWord("filter") && p.peekIs("(") {
		p.advance()
		p.advance()
		p.expectWord("where")
		call.Filter = p.expression()
		p.expect(")")
	}
	if p.isWord("over") {
		at := p.token.pos
		p.advance()
		if p.is("(") {
			call.Over = p.window()
		} else {
			call.Over = &Window{Pos: at, Name: p.name("the name of a window").Name}
		}
	}
	return call
}

// window reads a window specification in parentheses.
func (p *parser) window() *Window {
	window := &Window{Pos: p.token.pos}
	p.expect("(")
	if p.isName() && !p.beginsFrame() && !p.isWord("partition") {
		window.Base = p.takeName().Name
	}
	if p.word("partition") {
		p.expectWord("by")
		window.PartitionBy = p.arguments()
	}
	window.OrderBy = p.orderBy()
	if p.beginsFrame() {
		window.Frame = p.frame()
	}
	p.expect(")")
	return window
}

// beginsFrame reports whether the word in hand begins a frame.
func (p *parser) beginsFrame() bool {
	return p.isWord("rows") || p.isWord("range") || p.isWord("groups")
}

// frame reads the frame of a window.
func (p *parser) frame() *Frame {
	frame := &Frame{Pos: p.token.pos}
	switch {
	case p.word("range"):
		frame.Mode = FrameRange
	case p.word("groups"):
		frame.Mode = FrameGroups
	default:
		p.expectWord("rows")
	}
	if p.word("between") {
		frame.Start = p.frameBound()
		p.expectWord("and")
		frame.End = p.frameBound()
	} else {
		frame.Start = p.frameBound()
		frame.End = FrameBound{Kind: CurrentRow}
	}
	if frame.Start.Kind > frame.End.Kind || frame.Start.Kind == UnboundedFollowing || frame.End.Kind == UnboundedPreceding {
		failSyntax(frame.Pos, "the frame starts after its end, expected an earlier start")
	}
	if p.word("exclude") {
		frame.Exclude = p.frameExclusion()
	}
	return frame
}

// frameBound reads one end of a frame. The offset binds stronger than AND, which separates the ends.
func (p *parser) frameBound() FrameBound {
	if p.isWord("current") && p.peekWord("row") {
		p.advance()
		p.advance()
		return FrameBound{Kind: CurrentRow}
	}
	if p.isWord("unbounded") && (p.peekWord("preceding") || p.peekWord("following")) {
		p.advance()
		if p.word("preceding") {
			return FrameBound{Kind: UnboundedPreceding}
		}
		p.advance()
		return FrameBound{Kind: UnboundedFollowing}
	}
	offset := p.operand(bindAnd + 1)
	if p.word("following") {
		return FrameBound{Kind: OffsetFollowing, Offset: offset}
	}
	if !p.word("preceding") {
		p.unexpected("PRECEDING or FOLLOWING")
	}
	return FrameBound{Kind: OffsetPreceding, Offset: offset}
}

// frameExclusion reads what follows EXCLUDE.
func (p *parser) frameExclusion() FrameExclusion {
	switch {
	case p.words("no", "others"):
		return ExcludeNothing
	case p.words("current", "row"):
		return ExcludeCurrentRow
	case p.word("group"):
		return ExcludeGroup
	case p.word("ties"):
		return ExcludeTies
	}
	p.unexpected("NO OTHERS, CURRENT ROW, GROUP or TIES")
	return ExcludeNothing
}

// orderBy reads ORDER BY if it is in hand.
func (p *parser) orderBy() []OrderItem {
	if !p.word("order") {
		return nil
	}
	p.expectWord("by")
	list := []OrderItem{p.orderItem()}
	for p.another(len(list)) {
		list = append(list, p.orderItem())
	}
	return list
}

// orderItem reads one item of ORDER BY.
func (p *parser) orderItem() OrderItem {
	item := OrderItem{Pos: p.token.pos, Expr: p.expression()}
	using := p.word("using")
	greater := using && p.symbol(">")
	if using && !greater {
		p.expect("<")
	}
	item.Descending, item.Nulls = p.direction()
	item.Descending = item.Descending || greater
	return item
}

// direction reads [ASC|DESC] [NULLS FIRST|LAST].
func (p *parser) direction() (descending bool, nulls NullsOrder) {
	if p.word("desc") {
		descending = true
	} else {
		p.word("asc")
	}
	if p.word("nulls") {
		switch {
		case p.word("first"):
			nulls = NullsFirst
		case p.word("last"):
			nulls = NullsLast
		default:
			p.unexpected("FIRST or LAST")
		}
	}
	return descending, nulls
}
