package exec

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// maxKeptOutcomes bounds for how many outer rows what a subquery gave is kept.
const maxKeptOutcomes = 1024

// subqueryState keeps what a subquery gave, by the values of the outer row that it reads.
type subqueryState struct {
	kept map[string]*expr.SubqueryRows
	key  []byte
}

// subquery runs a subquery for a row of the query around it, or gives what is known already.
func (r *run) subquery(eval *expr.EvalContext, query any, row []datum.Datum) (*expr.SubqueryRows, error) {
	sub, ok := query.(*plan.Subquery)
	if !ok || r.state.ctx == nil {
		return nil, fault.New(fault.Internal, "subquery %T cannot be run here", query)
	}
	if err := r.state.ctx.Err(); err != nil {
		return nil, err // its own scans may be too short to notice
	}
	state := r.state.subqueries[sub]
	if state == nil {
		state = &subqueryState{kept: map[string]*expr.SubqueryRows{}}
		if r.state.subqueries == nil {
			r.state.subqueries = map[*plan.Subquery]*subqueryState{}
		}
		r.state.subqueries[sub] = state
	}
	state.key = state.key[:0]
	for _, position := range sub.Reads {
		state.key = appendExactKey(state.key, row[position])
	}
	if !sub.Deep {
		if known := state.kept[string(state.key)]; known != nil {
			return known, nil
		}
	}
	key := string(state.key)
	before, kept := r.budget.usedBytes, r.state.keptBytes
	child := *r
	child.snapshot = r.openSnapshot()
	child.eval = eval.Within(row)
	rows, err := child.collect(r.state.ctx, sub.Root, sub.Stop)
	if err != nil {
		return nil, err
	}
	outcome := &expr.SubqueryRows{Rows: rows}
	// What the subquery held while it ran is free again; what is kept stays accounted, twice for the keys
	// that may be made of it.
	r.budget.usedBytes = before + r.state.keptBytes - kept
	if sub.Deep || len(state.kept) >= maxKeptOutcomes {
		return outcome, nil
	}
	state.kept[key] = outcome
	bytes := int64(len(key)) + groupBytes + int64(cap(rows))*sliceBytes
	for _, row := range rows {
		bytes += 2 * rowBytes(row)
	}
	r.state.keptBytes += bytes
	return outcome, r.budget.takeBytes(bytes)
}

// appendExactKey is datum.AppendKey that also tells apart values which are equal but print differently.
func appendExactKey(key []byte, value datum.Datum) []byte {
	key = datum.AppendKey(key, value)
	if value.Kind() == datum.Decimal || value.Kind().IsFloat() {
		key = append(datum.AppendText(key, value), 0)
	}
	return key
}
