package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// bindJSONOperator reads the operators on JSON as functions. Those on sets are those of arrays, too.
func (b *binder) bindJSONOperator(n *parse.Binary, left, right Expr) (Expr, error) {
	nodes := []parse.Expr{n.Left, n.Right}
	call := func(name string, operands ...Expr) (Expr, error) { return b.callBuiltin(name, operands, n, nodes) }
	switch n.Op {
	case "->", "->>", "?":
		step, err := b.pathStep(right, n.Right)
		if err != nil {
			return nil, err
		}
		name := map[parse.Operator]string{"->": "json_get", "->>": "json_as_text", "?": "json_contains"}[n.Op]
		if n.Op == "?" && step.Type().Kind == datum.Text {
			name = "jsonb_exists"
		}
		return call(name, left, step)
	case "@>", "<@":
		if left.Type().Kind == datum.Array || right.Type().Kind == datum.Array {
			return b.bindArraySets(n, left, right)
		}
		if n.Op == "<@" {
			left, right = right, left
		}
		return call("jsonb_contains", left, right)
	case "@?":
		return call("jsonb_path_exists_opr", left, right)
	case "@@":
		return call("jsonb_path_match_opr", left, right)
	}
	// The others take several keys.
	keys, err := b.convert(right, datum.Type{Kind: datum.Array, Elem: datum.Text}, n.Right)
	if err != nil {
		return nil, err
	}
	switch n.Op {
	case "#>":
		return call("json_get_path", left, keys)
	case "#>>":
		return call("json_as_text_path", left, keys)
	case "?|":
		return call("jsonb_exists_any", left, keys)
	case "?&":
		return call("jsonb_exists_all", left, keys)
	case "#-":
		return call("jsonb_delete_path", left, keys)
	}
	return nil, faultAt(n, fault.Unsupported, "operator %s is not supported", n.Op)
}

// takesJSON reports whether - and || between two operands are those of JSON.
func takesJSON(op parse.Operator, left, right Expr) bool {
	isJSON := func(e Expr) bool { return e.Type().Kind == datum.JSON }
	if op == "||" { // what is untyped beside a document is one, too
		return isJSON(left) && (isJSON(right) || isUntyped(right)) || isJSON(right) && isUntyped(left)
	}
	return isJSON(left)
}

// bindJSONChange is document || document, and document - key, keys or index.
func (b *binder) bindJSONChange(n *parse.Binary, left, right Expr) (Expr, error) {
	if n.Op == "||" {
		operands, nodes := []Expr{left, right}, []parse.Expr{n.Left, n.Right}
		for i := range operands {
			var err error
			if operands[i], err = b.convert(operands[i], datum.Of(datum.JSON), nodes[i]); err != nil {
				return nil, err
			}
		}
		return b.callBuiltin("jsonb_concat", operands, n, nodes)
	}
	var err error
	switch k := right.Type().Kind; {
	case isUntyped(right):
		right, err = b.convert(right, b.fallbackType(right), n.Right)
	case k == datum.Array:
		right, err = b.convert(right, datum.Type{Kind: datum.Array, Elem: datum.Text}, n.Right)
	case k != datum.Text && !k.IsInteger():
		return nil, faultAt(n, fault.InvalidStatement, "operator - does not apply to %s and %s", left.Type(), right.Type())
	}
	if err != nil {
		return nil, err
	}
	return b.callBuiltin("jsonb_delete", []Expr{left, right}, n, []parse.Expr{n.Left, n.Right})
}

// bindArraySets is @>, <@ and && of arrays: whether all elements, or any, of the one are in the other. NULL elements are in none.
func (b *binder) bindArraySets(n *parse.Binary, left, right Expr) (Expr, error) {
	if left.Type().Kind != datum.Array && right.Type().Kind != datum.Array {
		return nil, faultAt(n, fault.InvalidStatement, "operator %s does not apply to %s and %s", n.Op, left.Type(), right.Type())
	}
	operands := []Expr{left, right}
	if _, err := b.matchElements(string(n.Op), operands, []bool{true, true}, []parse.Expr{n.Left, n.Right}); err != nil {
		return nil, err
	}
	if n.Op == "<@" {
		operands[0], operands[1] = operands[1], operands[0]
	}
	overlap := n.Op == "&&"
	return &binaryExpr{op: string(n.Op), left: operands[0], right: operands[1], typ: booleanType, apply: func(x, y datum.Datum) (datum.Datum, error) {
		known := make(map[string]bool, len(x.Array()))
		for _, element := range x.Array() {
			if !element.IsNull() {
				known[string(datum.AppendKey(nil, element))] = true
			}
		}
		for _, element := range y.Array() {
			found := !element.IsNull() && known[string(datum.AppendKey(nil, element))]
			if found == overlap {
				return datum.NewBool(overlap), nil
			}
		}
		return datum.NewBool(!overlap), nil
	}}, nil
}
