package expr

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// operandClass says what a function takes in one place.
type operandClass uint8

const (
	anyOperand     operandClass = iota
	textOperand                 // Text; every other type is printed, but BYTES only where printsBytes says so
	integerOperand              // BigInt; a number with a fraction is refused
	roundedOperand              // BigInt; a fraction is rounded, as where it is assigned
	numberOperand               // any numeric kind as it is; untyped means Double
	doubleOperand               // Double
	jsonOperand                 // JSON; text is parsed when it is used
	instantOperand              // Timestamp, DateTime or Date; untyped means Timestamp
	momentOperand               // as instantOperand, or Interval
	vectorOperand               // Embedding, or text that holds one
	intervalOperand
	booleanOperand
	textsOperand // an array of texts
	bytesOperand // Bytes; untyped means Bytes
)

// arguments are the values of a call, in order.
type arguments []datum.Datum

// definition describes one scalar function.
type definition struct {
	operands  []operandClass
	optional  int  // how many of operands may be missing at the end
	variadic  bool // the last operand may repeat
	takesNull bool // called with NULL operands; otherwise NULL gives NULL
	common    bool // all anyOperand operands are brought to one type, that of the result
	when      volatility
	result    datum.Type                       // the result type, unless resultOf is set
	resultOf  func(operands []Expr) datum.Type // the result type by the operands' types
	apply     func(ctx *EvalContext, args arguments) (datum.Datum, error)
	check     func(operands []Expr) error // refuses constant operands before anything runs; nil where nothing is to be checked
}

// callExpr calls a function on values that are not NULL, unless the function takes NULL.
type callExpr struct {
	name     string
	operands []Expr
	typ      datum.Type
	function definition
}

func (e *callExpr) Type() datum.Type { return e.typ }
func (e *callExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	args := make(arguments, len(e.operands))
	for i, operand := range e.operands {
		value, err := operand.Eval(ctx, row)
		if err != nil {
			return datum.Datum{}, err
		}
		if value.IsNull() && !e.function.takesNull {
			return datum.Datum{}, nil
		}
		args[i] = value
	}
	return e.function.apply(ctx, args)
}
func (e *callExpr) String() string   { return e.name + "(" + joinExprs(e.operands, ", ") + ")" }
func (e *callExpr) children() []Expr { return e.operands }
func (e *callExpr) rebuild(operands []Expr) Expr {
	return &callExpr{name: e.name, operands: operands, typ: e.typ, function: e.function}
}
func (e *callExpr) volatility() volatility { return e.function.when }

// lookupFunction finds a scalar function by its lower-case name.
func lookupFunction(name string) (definition, bool) {
	for _, family := range []func(string) (definition, bool){
		textFunction, mathFunction, timeFunction, sessionFunction, jsonFunction, vectorFunction,
		postgresFunction, jsonPathFunction, arrayFunction, arrayEditFunction, regexpFunction,
		wholeFunction, quotingFunction, spanFunction, jsonChangeFunction, templateFunction, arrayJoinFunction,
		normalFunction, bytesFunction, arrayShapeFunction, angleFunction,
	} {
		if f, ok := family(name); ok {
			return f, true
		}
	}
	return definition{}, false
}

// FunctionExists reports whether a name is a scalar or aggregate function of this package.
func FunctionExists(name string) bool {
	name = strings.ToLower(name)
	if _, ok := lookupFunction(name); ok {
		return true
	}
	switch name {
	case "coalesce", "nullif", "overlaps":
		return true
	}
	return IsAggregateName(name)
}

func (b *binder) bindCall(n *parse.FuncCall) (Expr, error) {
	name := strings.ToLower(n.Name.Name)
	if n.Name.Namespace != "" && n.Name.Namespace != "pg_catalog" {
		return nil, fault.New(fault.InvalidStatement, "function %s.%s does not exist", n.Name.Namespace, name)
	}
	if n.Over != nil {
		return b.bindWindow(name, n)
	}
	if IsAggregateName(name) {
		return b.bindAggregate(name, n)
	}
	if isHypothetical(n) {
		return b.bindHypothetical(name, n)
	}
	if name == groupingName {
		return b.bindGrouping(n)
	}
	if n.Distinct || n.Star || n.Filter != nil || len(n.OrderBy) > 0 || len(n.WithinGroup) > 0 {
		return nil, fault.New(fault.InvalidStatement, "%s is not an aggregate function", name)
	}
	n = b.withRows(name, n)
	name = strings.ToLower(n.Name.Name)
	operands := make([]Expr, len(n.Args))
	for i, arg := range n.Args {
		e, err := b.bind(arg)
		if err != nil {
			return nil, err
		}
		operands[i] = e
	}
	if name == expandedRow {
		return expandedValue(operands), nil
	}
	return b.callBuiltin(name, operands, n, n.Args)
}

// callBuiltin types a call of a scalar function; nodes are those of the operands.
func (b *binder) callBuiltin(name string, operands []Expr, node parse.Expr, nodes []parse.Expr) (Expr, error) {
	switch name {
	case "coalesce":
		return b.coalesce(operands, node, nodes)
	case "nullif":
		return b.nullif(operands, node, nodes)
	case "overlaps":
		return b.overlaps(operands, nodes)
	case "substring":
		if e, done, err := b.substringByPattern(operands, nodes); done {
			return e, err
		}
	case "age":
		if len(operands) == 1 { // since today's midnight
			today, err := b.callBuiltin("current_date", nil, node, nil)
			if err != nil {
				return nil, err
			}
			operands, nodes = []Expr{today, operands[0]}, []parse.Expr{node, nodes[0]}
		}
	}
	if e, done, err := b.bindTyped(name, operands, nodes); done {
		return e, err
	}
	f, ok := lookupFunction(name)
	if takesBytes(operands) {
		if ofBytes, exists := bytesFunction(name); exists {
			f, ok = ofBytes, true
		}
	}
	if !ok {
		if sentence := refusedInExpression(name); sentence != "" {
			return nil, faultAt(node, fault.Unsupported, "%s", sentence)
		}
		return nil, faultAt(node, fault.InvalidStatement, "function %s does not exist", name)
	}
	if len(operands) < len(f.operands)-f.optional || len(operands) > len(f.operands) && !f.variadic {
		return nil, faultAt(node, fault.InvalidStatement, "function %s takes %s, got %d", name, arity(f), len(operands))
	}
	if places := arrayPlaces(name); places != nil {
		if _, err := b.matchElements("function "+name, operands, places, nodes); err != nil {
			return nil, err
		}
	}
	for i, e := range operands {
		class := f.operands[min(i, len(f.operands)-1)]
		typed, err := b.operand(e, class, name, i, nodes[i])
		if err != nil {
			return nil, err
		}
		operands[i] = typed
	}
	if f.check != nil {
		if err := f.check(operands); err != nil {
			return nil, err
		}
	}
	result := f.result
	if f.common {
		common, err := b.unify(name, operands, nodes)
		if err != nil {
			return nil, err
		}
		result = common
	} else if f.resultOf != nil {
		result = f.resultOf(operands)
	}
	return fold(&callExpr{name: name, operands: operands, typ: result, function: f}), nil
}

func arity(f definition) string {
	most := len(f.operands)
	least := most - f.optional
	switch {
	case f.variadic:
		return "at least " + itoa(least) + " argument(s)"
	case least == most:
		return itoa(most) + " argument(s)"
	}
	return itoa(least) + " to " + itoa(most) + " arguments"
}

// operand converts one argument to what the function takes.
func (b *binder) operand(e Expr, class operandClass, name string, index int, node parse.Expr) (Expr, error) {
	k := e.Type().Kind
	untyped := isUntyped(e)
	mismatch := func() (Expr, error) { return nil, mismatched(e, name, index, node) }
	switch class {
	case textOperand:
		if k == datum.Bytes && !printsBytes(name) {
			return mismatch()
		}
		return b.convert(e, datum.Of(datum.Text), node)
	case integerOperand, roundedOperand:
		return b.counting(e, class, name, index, node)
	case numberOperand, doubleOperand:
		if hint, ok := b.hint(e); ok && hint.Kind.IsNumeric() && class == numberOperand {
			return b.convert(e, hint, node)
		}
		if untyped || class == doubleOperand && k.IsNumeric() {
			return b.convert(e, datum.Of(datum.Double), node)
		}
		if !k.IsNumeric() {
			return mismatch()
		}
	case jsonOperand:
		if untyped && !isNull(e) {
			return b.convert(e, datum.Of(datum.Text), node)
		}
		if !untyped && !k.IsString() {
			return mismatch()
		}
	case momentOperand:
		return b.operand(e, momentClass(k), name, index, node)
	case instantOperand:
		if untyped || k.IsString() && IsRowIndependent(e) {
			return b.convert(e, datum.Of(datum.Timestamp), node)
		}
		if !k.IsInstant() {
			return mismatch()
		}
	case vectorOperand:
		if untyped || k == datum.Array || k.IsString() {
			return b.convert(e, datum.Of(datum.Embedding), node)
		}
		if k != datum.Embedding {
			return mismatch()
		}
	case intervalOperand:
		if !untyped && k != datum.Interval && k != datum.Time {
			return mismatch()
		}
		return b.convert(e, datum.Of(datum.Interval), node)
	case booleanOperand:
		if !untyped && k != datum.Boolean {
			return mismatch()
		}
		return b.convert(e, booleanType, node)
	case bytesOperand:
		if !untyped && k != datum.Bytes && k != datum.Null {
			return mismatch()
		}
		return b.convert(e, datum.Of(datum.Bytes), node)
	case textsOperand:
		return b.convert(e, datum.Type{Kind: datum.Array, Elem: datum.Text}, node)
	case anyOperand:
	}
	return e, nil
}

func mismatched(e Expr, name string, index int, node parse.Expr) error {
	return faultAt(node, fault.InvalidStatement, "argument %d of %s must not be %s", index+1, name, e.Type())
}

// limitBytes refuses a value that would exceed MaxValueBytes.
func limitBytes(size int) error {
	if size > MaxValueBytes || size < 0 {
		return fault.New(fault.LimitExceeded, "the value would exceed %d MiB", MaxValueBytes>>20)
	}
	return nil
}
