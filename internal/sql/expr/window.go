package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Windows collects the window functions of a query. Their results stand behind the values of the rows that
// they are computed over, of which there are Width.
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
	Frame     *RowFrame
	Aggregate *AggregateCall // set for aggregates
	Result    datum.Type
}

// RowFrame is a frame in rows before and behind the current one; negative bounds lie before it.
type RowFrame struct {
	Start, End        int64
	FromFirst, ToLast bool // no bound on that side
}

func (b *binder) bindWindow(name string, n *parse.FuncCall) (Expr, error) {
	windows := b.options.Windows
	switch {
	case windows == nil || b.inAggregate:
		return nil, fault.New(fault.InvalidStatement, "window functions are not allowed %s", b.place())
	case n.Distinct || n.Filter != nil || len(n.OrderBy) > 0 || len(n.WithinGroup) > 0:
		return nil, fault.New(fault.Unsupported, "DISTINCT, FILTER and ORDER BY in a window function are not supported")
	}
	window, err := windows.resolve(n.Over)
	if err != nil {
		return nil, err
	}
	call := &WindowCall{Name: name}
	b.options.Windows = nil // they cannot be nested
	err = b.windowParts(call, n, window)
	b.options.Windows = windows
	if err != nil {
		return nil, err
	}
	windows.Calls = append(windows.Calls, call)
	position := windows.Width + len(windows.Calls) - 1
	return NewColumn(position, call.Result, "window"), nil
}

func (w *Windows) resolve(window *parse.Window) (*parse.Window, error) {
	if window.Base != "" {
		return nil, faultAt(window, fault.Unsupported, "a window that extends another is not supported; write it out")
	}
	if window.Name == "" {
		return window, nil
	}
	for i := range w.Named {
		if w.Named[i].Name == window.Name {
			return w.resolve(w.Named[i].Window)
		}
	}
	return nil, faultAt(window, fault.InvalidStatement, "window %q does not exist", window.Name)
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
	call.Frame, err = bindFrame(window.Frame)
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
	case "count", "sum", "avg", "min", "max":
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
	for i, node := range n.Args {
		e, err := b.bindRoot(node)
		if err == nil && i > 0 {
			t := datum.Of(datum.BigInt)
			if i == 2 {
				t = call.Result
			}
			if e, err = b.bind(node); err == nil {
				e, err = b.convert(e, t, node)
			}
		}
		if err != nil {
			return err
		}
		if i == 0 {
			call.Result = e.Type()
		}
		call.Args = append(call.Args, e)
	}
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

// bindFrame reads a frame of rows.
func bindFrame(frame *parse.Frame) (*RowFrame, error) {
	if frame == nil {
		return nil, nil
	}
	if frame.Mode != parse.FrameRows || frame.Exclude != parse.ExcludeNothing {
		return nil, faultAt(frame, fault.Unsupported, "only ROWS frames without EXCLUDE are supported")
	}
	var bound RowFrame
	var err error
	if bound.Start, bound.FromFirst, err = frameBound(frame, frame.Start, parse.UnboundedPreceding); err != nil {
		return nil, err
	}
	bound.End, bound.ToLast, err = frameBound(frame, frame.End, parse.UnboundedFollowing)
	return &bound, err
}

func frameBound(frame *parse.Frame, bound parse.FrameBound, open parse.BoundKind) (offset int64, unbounded bool, err error) {
	switch bound.Kind {
	case open:
		return 0, true, nil
	case parse.CurrentRow:
		return 0, false, nil
	case parse.OffsetPreceding, parse.OffsetFollowing:
		literal, ok := bound.Offset.(*parse.IntegerLiteral)
		if !ok || literal.Value < 0 || literal.Value > 1<<31 {
			return 0, false, faultAt(frame, fault.Unsupported, "the bounds of a frame must be whole numbers")
		}
		if bound.Kind == parse.OffsetPreceding {
			return -literal.Value, false, nil
		}
		return literal.Value, false, nil
	case parse.UnboundedPreceding, parse.UnboundedFollowing:
	}
	return 0, false, faultAt(frame, fault.InvalidStatement, "the frame ends before it starts")
}
