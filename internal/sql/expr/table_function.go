package expr

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// TableColumn is one column of what a function in FROM gives.
type TableColumn struct {
	Name string
	Type datum.Type
}

// TableCall is a function in FROM: a function of this list, or any scalar function, which gives one row.
type TableCall struct {
	Name    string
	Args    []Expr
	Columns []TableColumn
	// Scalar says that a row has one value that an alias of the function may name.
	Scalar bool
	start  func(ctx *EvalContext, args []datum.Datum) (RowSource, error)
}

// RowSource gives one row after the other and nil at the end. A row is read until the next call.
type RowSource func() ([]datum.Datum, error)

// Start evaluates the arguments and starts the function. Any NULL among them gives no rows, where the function does not
// take NULL.
func (c *TableCall) Start(ctx *EvalContext) (RowSource, error) {
	args := make([]datum.Datum, len(c.Args))
	for i, e := range c.Args {
		var err error
		if args[i], err = e.Eval(ctx, nil); err != nil {
			return nil, err
		}
	}
	return c.start(ctx, args)
}

// BindTableFunction types a call of a function in FROM.
func BindTableFunction(call *parse.FuncCall, options Options) (*TableCall, error) {
	b := &binder{scope: NewScope(), options: options}
	name := strings.ToLower(call.Name.Name)
	if name == BesideEachOther {
		return besideEachOther(call, options)
	}
	maker, known := tableFunction(name)
	if !known || !inNamespace(call, name) {
		value, err := b.bindRoot(call)
		if err != nil {
			return nil, err
		}
		return &TableCall{
			Name: name, Args: []Expr{value}, Columns: []TableColumn{{name, value.Type()}}, Scalar: true,
			start: func(_ *EvalContext, args []datum.Datum) (RowSource, error) { return rowsOf([][]datum.Datum{args}), nil },
		}, nil
	}
	if call.Distinct || call.Star || call.Filter != nil || len(call.OrderBy) > 0 {
		return nil, faultAt(call, fault.InvalidStatement, "%s is not an aggregate function", name)
	}
	args := []Expr{}
	for _, node := range call.Args {
		e, err := b.bindRoot(node)
		if err != nil {
			return nil, err
		}
		args = append(args, e)
	}
	return maker(b, &TableCall{Name: name, Args: args}, call)
}

type tableMaker func(b *binder, c *TableCall, node *parse.FuncCall) (*TableCall, error)

func tableFunction(name string) (tableMaker, bool) {
	switch name {
	case "unnest":
		return unnest, true
	case "generate_series":
		return generateSeries, true
	case "json_each", "jsonb_each", "json_each_text", "jsonb_each_text", "json_array_elements", "jsonb_array_elements",
		"json_array_elements_text", "jsonb_array_elements_text", "json_object_keys", "jsonb_object_keys":
		return jsonRows, true
	case "jsonb_path_query", "jsonb_path_query_tz":
		return pathRows, true
	case "regexp_split_to_table", "string_to_table", "regexp_matches":
		return textRows, true
	case ExpandArray:
		return expandArray, true
	}
	return nil, false
}

// GivesRows reports whether a call is one of a function that gives rows of one value, for a select list.
func GivesRows(call *parse.FuncCall) bool {
	name := strings.ToLower(call.Name.Name)
	if call.Over != nil || !inNamespace(call, name) {
		return false
	}
	if name == "generate_subscripts" {
		return true
	}
	_, known := tableFunction(name)
	return known && !strings.Contains(name, "_each") && (name != "unnest" || len(call.Args) == 1)
}

// refusedInExpression says where a function that gives rows is to stand; "" for every other name.
func refusedInExpression(name string) string {
	if _, known := tableFunction(name); !known && name != "generate_subscripts" {
		return ""
	}
	return name + " gives rows, which is no value of an expression; put it into FROM, and name its column here"
}

// rowsOf gives rows that are there already.
func rowsOf(rows [][]datum.Datum) RowSource {
	return func() ([]datum.Datum, error) {
		if len(rows) == 0 {
			return nil, nil
		}
		row := rows[0]
		rows = rows[1:]
		return row, nil
	}
}

func takes(node *parse.FuncCall, name string, least, most int) error {
	if len(node.Args) < least || len(node.Args) > most {
		return faultAt(node, fault.InvalidStatement, "function %s takes %d to %d arguments in FROM, got %d", name, least, most, len(node.Args))
	}
	return nil
}

// unnest gives the elements of arrays side by side, NULL where one is shorter.
func unnest(b *binder, c *TableCall, node *parse.FuncCall) (*TableCall, error) {
	if err := takes(node, c.Name, 1, 64); err != nil {
		return nil, err
	}
	for i, e := range c.Args {
		if e.Type().Kind == datum.Text { // as columns that are declared as arrays are
			var err error
			if e, err = b.convert(e, datum.Type{Kind: datum.Array, Elem: datum.Text}, node.Args[i]); err != nil {
				return nil, err
			}
			c.Args[i] = e
		}
		if e.Type().Kind != datum.Array {
			return nil, faultAt(node.Args[i], fault.InvalidStatement, "unnest needs an array, not %s", e.Type())
		}
		c.Columns = append(c.Columns, TableColumn{"unnest", datum.Of(e.Type().Elem)})
	}
	c.Scalar = len(c.Args) == 1
	c.start = func(_ *EvalContext, args []datum.Datum) (RowSource, error) {
		longest := 0
		lists := make([][]datum.Datum, len(args))
		for i, value := range args {
			if !value.IsNull() {
				lists[i] = value.Array()
			}
			longest = max(longest, len(lists[i]))
		}
		row, at := make([]datum.Datum, len(lists)), 0
		return func() ([]datum.Datum, error) {
			if at == longest {
				return nil, nil
			}
			for i, list := range lists {
				row[i] = datum.Datum{}
				if at < len(list) {
					row[i] = list[at]
				}
			}
			at++
			return row, nil
		}, nil
	}
	return c, nil
}

// generateSeries counts from a start to an end, both included: whole numbers, decimals, or times by an interval.
func generateSeries(b *binder, c *TableCall, node *parse.FuncCall) (*TableCall, error) {
	if err := takes(node, c.Name, 2, 3); err != nil {
		return nil, err
	}
	ends, err := b.unify(c.Name, c.Args[:2:2], node.Args[:2])
	if err != nil {
		return nil, err
	}
	first, second := c.Args[0], c.Args[1]
	var step Expr
	kind := ends.Kind
	switch {
	case kind.IsInstant():
		if kind == datum.Date {
			kind = datum.Timestamp
		}
		if len(c.Args) < 3 {
			return nil, faultAt(node, fault.InvalidStatement, "generate_series over times needs an interval as its third argument")
		}
		if c.Args[2].Type().Kind == datum.Text {
			c.Args[2] = NewCast(c.Args[2], datum.Of(datum.Interval))
		}
		if step, err = b.operand(c.Args[2], intervalOperand, c.Name, 2, node.Args[2]); err != nil {
			return nil, err
		}
	case kind.IsInteger(), kind == datum.Decimal:
		step = NewConst(datum.NewBigInt(1), datum.Of(datum.BigInt))
		if len(c.Args) == 3 {
			if step = c.Args[2]; !step.Type().Kind.IsInteger() && step.Type().Kind != datum.Decimal {
				return nil, faultAt(node.Args[2], fault.InvalidStatement, "the step of generate_series must be a number, not %s", step.Type())
			}
			if step.Type().Kind == datum.Decimal || step.Type().Kind == datum.BigInt && kind != datum.Decimal {
				kind = step.Type().Kind
			}
		}
		if kind == datum.SmallInt {
			kind = datum.Int
		}
	default:
		return nil, faultAt(node, fault.InvalidStatement, "generate_series does not count over %s", ends)
	}
	result := datum.Of(kind)
	if kind == datum.Decimal {
		result = datum.Type{Kind: datum.Decimal}
	}
	c.Args = []Expr{NewCast(first, result), NewCast(second, result), step}
	if !kind.IsInstant() {
		c.Args[2] = NewCast(step, result)
	}
	c.Columns, c.Scalar = []TableColumn{{c.Name, result}}, true
	next, err := b.adder(result, c.Args[2].Type())
	if err != nil {
		return nil, err
	}
	c.start = func(_ *EvalContext, args []datum.Datum) (RowSource, error) { return series(args, next) }
	return c, nil
}

// adder is the sum of a value and a step.
func (b *binder) adder(value, step datum.Type) (Expr, error) {
	node := &parse.Binary{Op: "+", Left: &parse.NullLiteral{}, Right: &parse.NullLiteral{}}
	sum, err := b.bindArithmetic(node, NewColumn(0, value, "value"), NewColumn(1, step, "step"))
	if err != nil {
		return nil, err
	}
	return NewCast(sum, value), nil
}

func series(args []datum.Datum, next Expr) (RowSource, error) {
	value, end, step := args[0], args[1], args[2]
	if value.IsNull() || end.IsNull() || step.IsNull() {
		return rowsOf(nil), nil
	}
	sign := 0
	if step.Kind() == datum.Interval {
		after, err := next.Eval(nil, []datum.Datum{value, step})
		if err != nil {
			return nil, err
		}
		sign = datum.Compare(after, value)
	} else {
		sign = datum.Compare(step, datum.NewBigInt(0))
	}
	if sign == 0 {
		return nil, fault.New(fault.InvalidStatement, "the step of generate_series must not be zero")
	}
	row, done := []datum.Datum{{}}, false
	return func() ([]datum.Datum, error) {
		if done || datum.Compare(value, end)*sign > 0 {
			return nil, nil
		}
		row[0] = value
		following, err := next.Eval(nil, []datum.Datum{value, step})
		switch {
		case fault.KindOf(err) == fault.OutOfRange:
			done = true // the last value of the type
		case err != nil:
			return nil, err
		}
		value = following
		return row, nil
	}, nil
}

// each gives values one in a row.
func each(values []datum.Datum) RowSource {
	row := []datum.Datum{{}}
	return func() ([]datum.Datum, error) {
		if len(values) == 0 {
			return nil, nil
		}
		row[0], values = values[0], values[1:]
		return row, nil
	}
}
