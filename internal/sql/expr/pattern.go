package expr

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// likePattern is a compiled LIKE pattern: pieces that must follow each other, with anything between.
type likePattern struct {
	pieces   []likePiece
	openHead bool // starts with %
	openTail bool // ends with %
}

// likePiece is a run of characters without %; runes is set when some of them are _.
type likePiece struct {
	literal string
	runes   []rune // anyRune for _
}

const anyRune = -1

// compileLike reads a pattern; escape makes the next character ordinary, and is empty for none.
func compileLike(pattern, escape string) (*likePattern, error) {
	if utf8.RuneCountInString(escape) > 1 {
		return nil, fault.New(fault.InvalidStatement, "ESCAPE must be one character or empty, not %q", escape)
	}
	escapeRune, _ := utf8.DecodeRuneInString(escape)
	p := &likePattern{}
	var current []rune
	wild, started, escaped := false, false, false
	flush := func() {
		if len(current) == 0 {
			return
		}
		piece := likePiece{literal: string(current)}
		if wild {
			piece = likePiece{runes: current}
		}
		p.pieces = append(p.pieces, piece)
		current, wild = nil, false
	}
	for _, r := range pattern {
		switch {
		case escaped:
			current = append(current, r)
			escaped = false
		case escape != "" && r == escapeRune:
			escaped = true
		case r == '%':
			p.openHead = p.openHead || !started
			flush()
			started = true
			p.openTail = true
			continue
		case r == '_':
			current = append(current, anyRune)
			wild = true
		default:
			current = append(current, r)
		}
		started, p.openTail = true, false
	}
	if escaped {
		return nil, fault.New(fault.InvalidStatement, "LIKE pattern must not end with the escape character")
	}
	flush()
	return p, nil
}

// matches reports whether the whole text has the form of the pattern.
func (p *likePattern) matches(ctx *EvalContext, text string) (bool, error) {
	for i := range p.pieces {
		piece := &p.pieces[i]
		first, last := i == 0 && !p.openHead, i == len(p.pieces)-1 && !p.openTail
		switch {
		case first && last:
			rest, ok := piece.prefixOf(text)
			return ok && rest == "", nil
		case first:
			rest, ok := piece.prefixOf(text)
			if !ok {
				return false, nil
			}
			text = rest
		case last:
			return piece.suffixOf(text), nil
		default:
			rest, ok, err := piece.within(ctx, text)
			if !ok || err != nil {
				return false, err
			}
			text = rest
		}
	}
	return p.openTail || text == "", nil // without pieces: % matches all, the empty pattern only empty text
}

func (p *likePiece) prefixOf(text string) (rest string, ok bool) {
	if p.runes == nil {
		return strings.CutPrefix(text, p.literal)
	}
	for _, want := range p.runes {
		r, size := utf8.DecodeRuneInString(text)
		if size == 0 || want != anyRune && r != want {
			return "", false
		}
		text = text[size:]
	}
	return text, true
}

func (p *likePiece) suffixOf(text string) bool {
	if p.runes == nil {
		return strings.HasSuffix(text, p.literal)
	}
	for _, want := range slices.Backward(p.runes) {
		r, size := utf8.DecodeLastRuneInString(text)
		if size == 0 || want != anyRune && r != want {
			return false
		}
		text = text[:len(text)-size]
	}
	return true
}

// within finds the leftmost occurrence, which leaves the most for what follows.
func (p *likePiece) within(ctx *EvalContext, text string) (rest string, ok bool, err error) {
	if p.runes == nil {
		_, rest, ok = strings.Cut(text, p.literal)
		return rest, ok, nil
	}
	for steps := 0; ; {
		if rest, ok = p.prefixOf(text); ok {
			return rest, true, nil
		}
		_, size := utf8.DecodeRuneInString(text)
		if size == 0 {
			return "", false, nil
		}
		text = text[size:]
		if steps += min(len(p.runes), len(text)); steps >= stepsBetweenLooks {
			steps = 0
			if err = ctx.stopped(); err != nil {
				return "", false, err
			}
		}
	}
}

// likeExpr is LIKE or ILIKE. compiled is set when pattern and escape are constants.
type likeExpr struct {
	fold                     bool
	operand, pattern, escape Expr
	compiled                 *likePattern
}

func newLike(ignoreCase bool, operand, pattern, escape Expr) (*likeExpr, error) {
	e := &likeExpr{fold: ignoreCase, operand: operand, pattern: pattern, escape: escape}
	p, isConst := pattern.(*constExpr)
	esc, escapeConst := escape.(*constExpr)
	if !isConst || !escapeConst || p.value.IsNull() || esc.value.IsNull() {
		return e, nil
	}
	compiled, err := e.compile(p.value.Str(), esc.value.Str())
	e.compiled = compiled
	return e, err
}

func (e *likeExpr) compile(pattern, escape string) (*likePattern, error) {
	if e.fold {
		pattern, escape = strings.ToLower(pattern), strings.ToLower(escape)
	}
	return compileLike(pattern, escape)
}

func (e *likeExpr) Type() datum.Type { return booleanType }
func (e *likeExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	value, err := e.operand.Eval(ctx, row)
	if err != nil || value.IsNull() {
		return datum.Datum{}, err
	}
	compiled := e.compiled
	if compiled == nil {
		pattern, failure := e.pattern.Eval(ctx, row)
		if failure != nil || pattern.IsNull() {
			return datum.Datum{}, failure
		}
		escape, failure := e.escape.Eval(ctx, row)
		if failure != nil || escape.IsNull() {
			return datum.Datum{}, failure
		}
		if compiled, err = e.compile(pattern.Str(), escape.Str()); err != nil {
			return datum.Datum{}, err
		}
	}
	text := value.Str()
	if e.fold {
		if text, err = mapPieces(ctx, text, strings.ToLower); err != nil {
			return datum.Datum{}, err
		}
	}
	found, err := compiled.matches(ctx, text)
	return datum.NewBool(found), err
}

func (e *likeExpr) String() string {
	word := " LIKE "
	if e.fold {
		word = " ILIKE "
	}
	return "(" + e.operand.String() + word + e.pattern.String() + " ESCAPE " + e.escape.String() + ")"
}
func (e *likeExpr) children() []Expr { return []Expr{e.operand, e.pattern, e.escape} }
func (e *likeExpr) rebuild(operands []Expr) Expr {
	rebuilt, err := newLike(e.fold, operands[0], operands[1], operands[2])
	if err != nil { // the pattern fails when it is evaluated
		return &likeExpr{fold: e.fold, operand: operands[0], pattern: operands[1], escape: operands[2]}
	}
	return rebuilt
}
func (e *likeExpr) volatility() volatility { return immutable }

func (b *binder) bindLike(n *parse.Like) (Expr, error) {
	what := "LIKE"
	if n.Kind == parse.LikeSimilar {
		what = "SIMILAR TO"
	}
	operand, err := b.bindTextual(n.Expr, what)
	if err != nil {
		return nil, err
	}
	pattern, err := b.bindTextual(n.Pattern, what)
	if err != nil {
		return nil, err
	}
	escape := NewConst(datum.NewText(`\`), datum.Of(datum.Text))
	if n.Escape != nil {
		if escape, err = b.bindTextual(n.Escape, "ESCAPE"); err != nil {
			return nil, err
		}
	}
	if n.Kind == parse.LikeSimilar {
		similar, failure := similarTo(operand, pattern, escape)
		return not(similar, n.Not), failure
	}
	e, err := newLike(n.Kind == parse.LikeFold, operand, pattern, escape)
	if err != nil {
		return nil, err
	}
	return not(fold(e), n.Not), nil
}

// bindTextual binds an operand that must be text.
func (b *binder) bindTextual(node parse.Expr, what string) (Expr, error) {
	e, err := b.bind(node)
	if err != nil {
		return nil, err
	}
	return b.textual(e, node, what)
}

func (b *binder) textual(e Expr, node parse.Expr, what string) (Expr, error) {
	if !isUntyped(e) && !e.Type().Kind.IsString() && e.Type().Kind != datum.Null {
		return nil, faultAt(node, fault.InvalidStatement, "%s does not apply to %s; cast it to TEXT", what, e.Type())
	}
	return b.convert(e, datum.Of(datum.Text), node)
}

// bindRegular is ~ ~* !~ !~*, in the syntax of RE2: linear time, no back references.
func (b *binder) bindRegular(n *parse.Binary, left, right Expr) (Expr, error) {
	text, err := b.textual(left, n.Left, "operator "+string(n.Op))
	if err != nil {
		return nil, err
	}
	pattern, err := b.textual(right, n.Right, "operator "+string(n.Op))
	if err != nil {
		return nil, err
	}
	ignoreCase := strings.HasSuffix(string(n.Op), "*")
	e := &regularExpr{text: text, pattern: pattern, ignoreCase: ignoreCase}
	if c, ok := pattern.(*constExpr); ok && !c.value.IsNull() {
		if e.compiled, err = compileRegular(c.value.Str(), ignoreCase); err != nil {
			return nil, err
		}
	}
	return not(fold(e), strings.HasPrefix(string(n.Op), "!")), nil
}

// regularExpr matches a regular expression; compiled is set when it is constant.
type regularExpr struct {
	text, pattern Expr
	ignoreCase    bool
	compiled      *regular
}

func (e *regularExpr) Type() datum.Type { return booleanType }
func (e *regularExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	text, err := e.text.Eval(ctx, row)
	if err != nil || text.IsNull() {
		return datum.Datum{}, err
	}
	compiled := e.compiled
	if compiled == nil {
		pattern, failure := e.pattern.Eval(ctx, row)
		if failure != nil || pattern.IsNull() {
			return datum.Datum{}, failure
		}
		if compiled, err = compileRegular(pattern.Str(), e.ignoreCase); err != nil {
			return datum.Datum{}, err
		}
	}
	found, err := compiled.matches(ctx, text.Str())
	return datum.NewBool(found), err
}

func (e *regularExpr) String() string {
	op := " ~ "
	if e.ignoreCase {
		op = " ~* "
	}
	return "(" + e.text.String() + op + e.pattern.String() + ")"
}
func (e *regularExpr) children() []Expr { return []Expr{e.text, e.pattern} }
func (e *regularExpr) rebuild(operands []Expr) Expr {
	rebuilt := &regularExpr{text: operands[0], pattern: operands[1], ignoreCase: e.ignoreCase}
	if c, ok := operands[1].(*constExpr); ok && !c.value.IsNull() {
		if compiled, err := compileRegular(c.value.Str(), e.ignoreCase); err == nil {
			rebuilt.compiled = compiled
		}
	}
	return rebuilt
}
func (e *regularExpr) volatility() volatility { return immutable }

// bindConcat is ||: text with anything, Bytes with Bytes, arrays with arrays or elements.
func (b *binder) bindConcat(n *parse.Binary, left, right Expr) (Expr, error) {
	lk, rk := left.Type().Kind, right.Type().Kind
	bytes := lk == datum.Bytes && (rk == datum.Bytes || isUntyped(right)) || rk == datum.Bytes && isUntyped(left)
	result := datum.Of(datum.Text)
	switch {
	case bytes:
		result = datum.Of(datum.Bytes)
	case lk == datum.Array || rk == datum.Array:
		return b.concatArrays(n, left, right)
	case !isUntyped(left) && !isUntyped(right) && !lk.IsString() && !rk.IsString():
		return nil, faultAt(n, fault.InvalidStatement, "operator || does not apply to %s and %s", left.Type(), right.Type())
	}
	l, err := b.convert(left, result, n.Left)
	if err != nil {
		return nil, err
	}
	r, err := b.convert(right, result, n.Right)
	if err != nil {
		return nil, err
	}
	return &binaryExpr{op: "||", left: l, right: r, typ: result, apply: func(x, y datum.Datum) (datum.Datum, error) {
		if err := limitBytes(len(x.Str()) + len(y.Str())); err != nil {
			return datum.Datum{}, err
		}
		return datum.NewString(result.Kind, x.Str()+y.Str()), nil
	}}, nil
}
