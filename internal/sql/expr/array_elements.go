package expr

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// arrayPlaces says of a function that takes an array and what may be its elements which of its operands are which; nil for
// every other function. Operands behind those are of a type of their own.
func arrayPlaces(name string) []bool {
	switch name {
	case "array_append", "array_remove", "array_position", "array_positions":
		return []bool{true, false}
	case "array_prepend":
		return []bool{false, true}
	case "array_replace":
		return []bool{true, false, false}
	case "array_cat":
		return []bool{true, true}
	}
	return nil
}

// matchElements converts arrays, those that places marks, and elements to the type that all elements have in common: what is
// put into an array of whole numbers, or looked for in one, is not rounded to a whole number.
func (b *binder) matchElements(what string, exprs []Expr, places []bool, nodes []parse.Expr) (datum.Kind, error) {
	var common datum.Type
	var untyped []Expr
	for i, isArray := range places {
		t := exprs[i].Type()
		switch {
		case isUntyped(exprs[i]):
			if !isArray {
				untyped = append(untyped, exprs[i])
			}
			continue
		case isArray && t.Kind == datum.Text: // as columns that are declared as arrays are
			continue
		case isArray && t.Kind != datum.Array && t.Kind != datum.Null:
			return 0, faultAt(nodes[i], fault.InvalidStatement, "%s needs an array, not %s", what, t)
		case isArray:
			t = datum.Of(t.Elem)
		case t.Kind == datum.Array:
			return 0, faultAt(nodes[i], fault.Unsupported, "%s", ArrayOfArrays)
		}
		together, ok := commonType(common, datum.Of(t.Kind))
		if !ok {
			return 0, faultAt(nodes[i], fault.InvalidStatement, "%s takes no array of %s with %s; cast one of them", what, common, t)
		}
		common = together
	}
	if common.Kind == datum.Null {
		common = b.untypedType(untyped)
	}
	for i, isArray := range places {
		want := common
		if isArray {
			want = datum.Type{Kind: datum.Array, Elem: common.Kind}
		}
		if exprs[i].Type().Kind == want.Kind && !isArray && !isUntyped(exprs[i]) {
			continue
		}
		var err error
		if exprs[i], err = b.convert(exprs[i], want, nodes[i]); err != nil {
			return 0, err
		}
	}
	return common.Kind, nil
}

// concatArrays appends an array or an element to either side.
func (b *binder) concatArrays(n *parse.Binary, left, right Expr) (Expr, error) {
	sides := []Expr{left, right}
	places := []bool{isArrayText(left, right), isArrayText(right, left)}
	kind, err := b.matchElements("||", sides, places, []parse.Expr{n.Left, n.Right})
	if err != nil {
		return nil, err
	}
	join := definition{takesNull: true, apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
		var out []datum.Datum
		for i := range places {
			if places[i] {
				out = append(out, a[i].Array()...)
				continue
			}
			out = append(out, a[i])
		}
		return ArrayOf(out)
	}}
	return &callExpr{name: "array_cat", operands: sides, typ: datum.Type{Kind: datum.Array, Elem: kind}, function: join}, nil
}

// isArrayText reports whether one side of || is an array: a literal beside an array is one where it is NULL, or spelled like an
// array of something else than texts.
func isArrayText(e, other Expr) bool {
	c, ok := e.(*constExpr)
	if !ok || !c.untyped {
		return e.Type().Kind == datum.Array
	}
	return c.value.IsNull() || other.Type().Elem != datum.Text && strings.HasPrefix(c.value.Str(), "{")
}
