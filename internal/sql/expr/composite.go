package expr

import (
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Composite values are those that drivers take apart and nothing else: no column can have one. A composite value is the array of
// its fields, which have one type, and its names are known where it is made and in the scopes that name it.

// ExpandArray is information_schema._pg_expandarray(array), which drivers ask for the columns of keys: a row of x, an element, and n,
// its place, for each element.
const ExpandArray = "_pg_expandarray"

// expandedRow is the value of ExpandArray where it is one. No statement can write the name.
const expandedRow = "\x00" + ExpandArray

var expandedFields = []string{"x", "n"}

// inNamespace reports whether a function that gives rows is called by a namespace that has it.
func inNamespace(call *parse.FuncCall, name string) bool {
	if name == ExpandArray {
		return strings.EqualFold(call.Name.Namespace, "information_schema")
	}
	return call.Name.Namespace == "" || call.Name.Namespace == "pg_catalog"
}

// expandArray gives the elements of an array with their places.
func expandArray(b *binder, c *TableCall, node *parse.FuncCall) (*TableCall, error) {
	if err := takes(node, c.Name, 1, 1); err != nil {
		return nil, err
	}
	subscripts, err := b.callBuiltin("array_subscripts", []Expr{c.Args[0], NewConst(datum.NewBigInt(1), datum.Of(datum.BigInt))}, node, []parse.Expr{node.Args[0], node.Args[0]})
	if err != nil {
		return nil, err
	}
	c.Args = append(c.Args, subscripts)
	if c, err = unnest(b, c, node); err != nil {
		return nil, err
	}
	for i, field := range expandedFields {
		c.Columns[i].Name = field
	}
	return c, nil
}

// ExpandedRow is the composite value of an element and its place.
func ExpandedRow(at parse.Pos, element, place parse.Expr) parse.Expr {
	return &parse.FuncCall{Pos: at, Name: parse.ObjectName{Pos: at, Name: expandedRow}, Args: []parse.Expr{element, place}}
}

// expandedValue types what ExpandedRow made.
func expandedValue(operands []Expr) Expr {
	fields := definition{takesNull: true, apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
		return ArrayOf(slices.Clone(a))
	}}
	for i, operand := range operands {
		operands[i] = NewCast(operand, datum.Of(datum.BigInt))
	}
	return &callExpr{name: expandedRow, operands: operands, typ: datum.Type{Kind: datum.Array, Elem: datum.BigInt}, function: fields}
}

// FieldsOf are the names of the fields of what an expression gives, nil when it is no composite value.
func FieldsOf(e Expr) []string {
	if call, ok := e.(*callExpr); ok && call.name == expandedRow {
		return expandedFields
	}
	return nil
}

// bindField is a field of a column that has some, or of the row of a table: (t).x is t.x.
func (b *binder) bindField(n *parse.Field) (Expr, error) {
	if row, ok := n.Expr.(*parse.ColumnRef); ok && b.scope.NamesTable(row) {
		return b.bindColumn(&parse.ColumnRef{Pos: row.Pos, Table: row.Name, Name: n.Name})
	}
	operand, err := b.bind(n.Expr)
	if err != nil {
		return nil, err
	}
	fields := FieldsOf(operand)
	if ref, ok := n.Expr.(*parse.ColumnRef); ok && b.scope != nil {
		if column, err := b.scope.Resolve(ref); err == nil {
			fields = column.Fields
		}
	}
	if fields == nil {
		return nil, faultAt(n, fault.InvalidStatement, "a value of type %s has no fields, and .%s asks for one", operand.Type(), n.Name)
	}
	at := slices.Index(fields, strings.ToLower(n.Name))
	if at < 0 {
		return nil, faultAt(n, fault.InvalidStatement, "the value has no field %q; its fields are %s", n.Name, strings.Join(fields, ", "))
	}
	place := NewConst(datum.NewBigInt(int64(at)+1), datum.Of(datum.BigInt))
	return &binaryExpr{op: "[]", left: operand, right: place, typ: datum.Of(operand.Type().Elem), apply: element}, nil
}
