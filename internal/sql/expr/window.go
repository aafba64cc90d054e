package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Windows collects the window functions of a query. Their results stand behind the values of the rows that
// they are computed over, which have at most Width.
type Windows struct {
	Width int
	Named []parse.NamedWindow // of the WINDOW clause
	Calls []*WindowCall       // filled by Bind
}

// WindowCall is one window function. Its operands are evaluated over input rows.
type WindowCall struct {
	Name        string // lower case: row_number, rank, dense_rank, percent_rank, cume_dist, ntile, lag, lead, first_value, last_value, nth_value, or an aggregate
	Args        []Expr
	PartitionBy []Expr
	OrderBy     []Order
	// Frame says which rows of the partition count. Nil is the default: up to the last row that is equal
	// to the current one in the order, or the whole partition without one.
	Frame     *Frame
	Aggregate *AggregateCall // set for aggregates
	Result    datum.Type
}

func (b *binder) bindWindow(name string, n *parse.FuncCall) (Expr, error) {
	windows := b.options.Windows
	switch {
	case windows == nil || b.inAggregate:
		return nil, fault.New(fault.InvalidStatement, "window functions are not allowed %s", b.place())
	case isOrderedSet(name):
		return nil, fault.New(fault.Unsupported, "%s over a window is not supported", name)
	case n.Distinct || len(n.OrderBy) > 0 || len(n.WithinGroup) > 0:
		return nil, fault.New(fault.Unsupported, "DISTINCT and ORDER BY in a window function are not supported")
	case n.Filter != nil && !IsAggregateName(name):
		return nil, fault.New(fault.InvalidStatement, "FILTER needs an aggregate, and %s is none", name)
	}
	window, err := windows.resolve(n.Over)
	if err != nil {
		return nil, err
	}
	if name == "every" {
		name = "bool_and"
	}
	call := &WindowCall{Name: name}
	b.options.Windows = nil // they cannot be nested
	err = b.windowParts(call, n, window)
	b.options.Windows = windows
	if err != nil {
		return nil, err
	}
	at := windows.find(call)
	if at < 0 {
		at = len(windows.Calls)
		windows.Calls = append(windows.Calls, call)
	}
	return NewColumn(windows.Width+at, call.Result, call.String()), nil
}

func (w *Windows) resolve(window *parse.Window) (*parse.Window, error) {
	if window.Base != "" {
		return w.extended(window)
	}
	if window.Name == "" {
		return window, nil
	}
	named, err := w.named(window, window.Name)
	if err != nil {
		return nil, err
	}
	return w.resolve(named)
}

// named finds a window of the WINDOW clause. One may extend those before it only, so that none extends itself.
func (w *Windows) named(at parse.Node, name string) (*parse.Window, error) {
	for i := range w.Named {
		if w.Named[i].Name == name {
			return w.Named[i].Window, nil
		}
		if w.Named[i].Window == at {
			break
		}
	}
	return nil, faultAt(at, fault.InvalidStatement, "window %q does not exist", name)
}

// extended is a window with the partitions of another one, and its order unless it has one of its own.
func (w *Windows) extended(window *parse.Window) (*parse.Window, error) {
	base, err := w.named(window, window.Base)
	if err != nil {
		return nil, err
	}
	if base, err = w.resolve(base); err != nil {
		return nil, err
	}
	whole := *window
	whole.Base = ""
	switch {
	case len(window.PartitionBy) > 0:
		return nil, faultAt(window, fault.InvalidStatement, "a window that extends %q cannot have partitions of its own", window.Base)
	case len(window.OrderBy) > 0 && len(base.OrderBy) > 0:
		return nil, faultAt(window, fault.InvalidStatement, "window %q has an order already", window.Base)
	case base.Frame != nil:
		return nil, faultAt(window, fault.InvalidStatement, "window %q has a frame and cannot be extended", window.Base)
	}
	whole.PartitionBy = base.PartitionBy
	if len(base.OrderBy) > 0 {
		whole.OrderBy = base.OrderBy
	}
	return &whole, nil
}

func (b *binder) windowParts(call *WindowCall, n *parse.FuncCall, window *parse.Window) error {
	if err := b.windowFunction(call, n); err != nil {
		return err
	}
	for _, node := range window.PartitionBy {
		e, err := b.bindRoot(node)
		if err != nil {
			return err
		}
		call.PartitionBy = append(call.PartitionBy, e)
	}
	for _, item := range window.OrderBy {
		e, err := b.bindRoot(item.Expr)
		if err != nil {
			return err
		}
		call.OrderBy = append(call.OrderBy, NewOrder(e, item.Descending, item.Nulls))
	}
	var err error
	call.Frame, err = b.bindFrame(window.Frame, call)
	return err
}

func (b *binder) windowFunction(call *WindowCall, n *parse.FuncCall) error {
	least, most := 0, 0
	switch call.Name {
	case "row_number", "rank", "dense_rank":
		call.Result = datum.Of(datum.BigInt)
	case "percent_rank", "cume_dist":
		call.Result = datum.Of(datum.Double)
	case "ntile":
		return b.ntile(call, n)
	case "first_value", "last_value":
		least, most = 1, 1
	case "nth_value":
		least, most = 2, 2
	case "lag", "lead":
		least, most = 1, 3
	case "count", "sum", "avg", "min", "max", "bool_and", "bool_or", "string_agg", "array_agg", "bit_and", "bit_or", "bit_xor", "any_value",
		"json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg", "stddev", "stddev_samp", "stddev_pop", "variance", "var_samp", "var_pop":
		aggregate, err := b.windowAggregate(call.Name, n)
		if err != nil {
			return err
		}
		call.Aggregate, call.Args, call.Result = aggregate, aggregate.Args, aggregate.Result
		return nil
	default:
		return fault.New(fault.Unsupported, "window function %s is not supported", call.Name)
	}
	if len(n.Args) < least || len(n.Args) > most || n.Star {
		return fault.New(fault.InvalidStatement, "window function %s takes %d to %d arguments, got %d", call.Name, least, most, len(n.Args))
	}
	if len(n.Args) == 0 {
		return nil
	}
	return b.windowValue(call, n.Args)
}

// windowValue binds a value, how many rows away it stands, and what is given where there is no such row: of the type that it
// and the value have in common.
func (b *binder) windowValue(call *WindowCall, nodes []parse.Expr) error {
	args := make([]Expr, len(nodes))
	for i, node := range nodes {
		var err error
		if args[i], err = b.bind(node); err != nil {
			return err
		}
	}
	values, valueNodes := []Expr{args[0]}, []parse.Expr{nodes[0]}
	if len(args) == 3 {
		values, valueNodes = append(values, args[2]), append(valueNodes, nodes[2])
	}
	t, err := b.unify(call.Name, values, valueNodes)
	if err != nil {
		return err
	}
	call.Result, args[0] = t, values[0]
	if len(args) == 3 {
		args[2] = values[1]
	}
	if len(args) > 1 {
		if args[1], err = b.convert(args[1], datum.Of(datum.BigInt), nodes[1]); err != nil {
			return err
		}
	}
	for i := range args {
		if args[i], err = b.finish(args[i]); err != nil {
			return err
		}
	}
	call.Args = args
	return nil
}

// ntile takes the number of parts.
func (b *binder) ntile(call *WindowCall, n *parse.FuncCall) error {
	if len(n.Args) != 1 || n.Star {
		return fault.New(fault.InvalidStatement, "window function ntile takes 1 argument, got %d", len(n.Args))
	}
	parts, err := b.bind(n.Args[0])
	if err == nil {
		parts, err = b.convert(parts, datum.Of(datum.BigInt), n.Args[0])
	}
	call.Args, call.Result = []Expr{parts}, datum.Of(datum.Int)
	return err
}

func (b *binder) windowAggregate(name string, n *parse.FuncCall) (*AggregateCall, error) {
	if n.Star && name != "count" {
		return nil, fault.New(fault.InvalidStatement, "%s(*) does not exist; only count(*) does", name)
	}
	return b.aggregateCall(name, n)
}
