package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Frame says which rows of a partition count for one of them: those between two bounds, without what Exclude names.
type Frame struct {
	Mode       parse.FrameMode
	Start, End FrameBound
	Exclude    parse.FrameExclusion
}

// FrameBound is one end of a frame: the first or last row of the partition, the current row, or so much before or behind it.
type FrameBound struct {
	Kind parse.BoundKind
	// Offset is the distance, in rows, groups of equal rows, or what is added to the value of the order; nil when there is none. It reads
	// no row.
	Offset Expr
	// Reach gives the value that lies at the distance, over a row of the current value and the offset, for RANGE.
	Reach Expr
}

// bindFrame reads a frame. A distance in RANGE may change the type of the call's order.
func (b *binder) bindFrame(frame *parse.Frame, call *WindowCall) (*Frame, error) {
	if frame == nil {
		return nil, nil
	}
	if frame.Start.Kind == parse.UnboundedFollowing || frame.End.Kind == parse.UnboundedPreceding || frame.Start.Kind > frame.End.Kind {
		return nil, faultAt(frame, fault.InvalidStatement, "the frame ends before it starts")
	}
	if frame.Mode == parse.FrameGroups && len(call.OrderBy) == 0 {
		return nil, faultAt(frame, fault.InvalidStatement, "a frame of GROUPS needs an ORDER BY")
	}
	bound := &Frame{Mode: frame.Mode, Exclude: frame.Exclude}
	var err error
	if bound.Start, err = b.frameBound(frame, frame.Start, call); err != nil {
		return nil, err
	}
	bound.End, err = b.frameBound(frame, frame.End, call)
	return bound, err
}

func (b *binder) frameBound(frame *parse.Frame, bound parse.FrameBound, call *WindowCall) (FrameBound, error) {
	if bound.Offset == nil {
		return FrameBound{Kind: bound.Kind}, nil
	}
	scope, clause := b.scope, b.options.Clause
	b.scope, b.options.Clause = NewScope(), "the bounds of a frame"
	defer func() { b.scope, b.options.Clause = scope, clause }()
	offset, err := b.bind(bound.Offset)
	if err != nil {
		return FrameBound{}, err
	}
	if frame.Mode != parse.FrameRange {
		if offset, err = b.convert(offset, datum.Of(datum.BigInt), bound.Offset); err == nil {
			offset, err = b.finish(offset)
		}
		return FrameBound{Kind: bound.Kind, Offset: offset}, err
	}
	if len(call.OrderBy) != 1 {
		return FrameBound{}, faultAt(frame, fault.InvalidStatement, "a frame of RANGE with a distance needs one ORDER BY expression")
	}
	return b.rangeBound(bound, offset, &call.OrderBy[0])
}

// rangeBound types a distance in the values of the order. The order is cast to the type of the sums, which lie between its values.
func (b *binder) rangeBound(bound parse.FrameBound, offset Expr, order *Order) (FrameBound, error) {
	op := parse.Operator("+")
	if (bound.Kind == parse.OffsetPreceding) != order.Descending {
		op = "-"
	}
	node := &parse.Binary{Op: op, Left: &parse.NullLiteral{}, Right: &parse.NullLiteral{}}
	if t := order.Expr.Type().Kind; t.IsInstant() {
		var err error
		if offset, err = b.operand(offset, intervalOperand, "RANGE", 0, bound.Offset); err != nil {
			return FrameBound{}, err
		}
	} else if !t.IsNumeric() {
		return FrameBound{}, faultAt(bound.Offset, fault.InvalidStatement, "a distance in RANGE does not apply to an order of %s", order.Expr.Type())
	} else if isUntyped(offset) {
		var err error
		if offset, err = b.convert(offset, order.Expr.Type(), bound.Offset); err != nil {
			return FrameBound{}, err
		}
	}
	offset, err := b.finish(offset)
	if err != nil {
		return FrameBound{}, err
	}
	sum, err := b.bindArithmetic(node, NewColumn(0, order.Expr.Type(), "value"), NewColumn(1, offset.Type(), "distance"))
	if err != nil {
		return FrameBound{}, positioned(err, bound.Offset)
	}
	if sum.Type() != order.Expr.Type() {
		order.Expr = NewCast(order.Expr, sum.Type())
		if sum, err = b.bindArithmetic(node, NewColumn(0, sum.Type(), "value"), NewColumn(1, offset.Type(), "distance")); err != nil {
			return FrameBound{}, positioned(err, bound.Offset)
		}
	}
	return FrameBound{Kind: bound.Kind, Offset: offset, Reach: sum}, nil
}
