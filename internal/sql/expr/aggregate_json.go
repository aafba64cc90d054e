package expr

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/jsontext"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// isJSONAggregate reports whether a name is that of an aggregate which makes a document of values, or of keys and values.
func isJSONAggregate(name string) bool {
	switch name {
	case "json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg":
		return true
	}
	return false
}

// jsonAggregate writes values, NULL included, into an array, or keys and values into an object. No rows give NULL.
type jsonAggregate struct {
	object bool
	out    []byte
}

func (a *jsonAggregate) Add(values []datum.Datum) error {
	w := &jsonWalk{jsontext.New(nil)}
	switch {
	case a.out != nil:
		a.out = append(a.out, ',')
	case a.object:
		a.out = append(a.out, '{')
	default:
		a.out = append(a.out, '[')
	}
	if a.object {
		if values[0].IsNull() {
			return fault.New(fault.InvalidStatement, "a key of json_object_agg must not be NULL")
		}
		a.out = append(w.AppendText(a.out, string(datum.AppendText(nil, values[0]))), ':')
		values = values[1:]
	}
	var err error
	if a.out, err = w.appendJSONValue(a.out, values[0]); err != nil {
		return err
	}
	return limitBytes(len(a.out))
}

func (a *jsonAggregate) Result(*EvalContext) (datum.Datum, error) {
	if a.out == nil {
		return datum.Datum{}, nil
	}
	end := byte(']')
	if a.object {
		end = '}'
	}
	whole := make([]byte, 0, len(a.out)+1)
	return datum.NewString(datum.JSON, string(append(append(whole, a.out...), end))), nil
}

// wholeRow is the row of a table as a document, where a function on JSON is given the name of a table instead of a value, as
// row_to_json(t) is. It reports false for what names a column, or nothing.
func (b *binder) wholeRow(node parse.Expr) (parse.Expr, bool) {
	ref, ok := node.(*parse.ColumnRef)
	if !ok || ref.Table != "" || b.scope == nil {
		return nil, false
	}
	if b.scope.Names(ref) {
		return nil, false
	}
	columns, err := b.scope.Expand(&parse.Star{Pos: ref.Pos, Table: ref.Name})
	if err != nil {
		return nil, false
	}
	row := &parse.FuncCall{Pos: ref.Pos, Name: parse.ObjectName{Name: "json_build_object"}}
	for i := range columns {
		if columns[i].System {
			continue
		}
		row.Args = append(row.Args, &parse.StringLiteral{Pos: ref.Pos, Value: columns[i].Name},
			&parse.ColumnRef{Pos: ref.Pos, Table: ref.Name, Name: columns[i].Name})
	}
	return row, true
}

// takesRows reports whether a function makes a document of a whole row.
func takesRows(name string) bool {
	switch name {
	case "row_to_json", "to_json", "to_jsonb", "json_agg", "jsonb_agg", "json_build_array", "jsonb_build_array", "json_build_object",
		"jsonb_build_object", "json_object_agg", "jsonb_object_agg":
		return true
	}
	return false
}

// withRows replaces the names of tables among the arguments of a function on JSON.
func (b *binder) withRows(name string, n *parse.FuncCall) *parse.FuncCall {
	if !takesRows(name) {
		return n
	}
	changed := *n
	changed.Args = append([]parse.Expr(nil), n.Args...)
	for i := range changed.Args {
		if row, ok := b.wholeRow(changed.Args[i]); ok {
			changed.Args[i] = row
		}
	}
	if name == "row_to_json" && len(changed.Args) == 1 {
		changed.Name.Name = strings.Replace(name, "row_to_json", "to_json", 1)
	}
	return &changed
}
