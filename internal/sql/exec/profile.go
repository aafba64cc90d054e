package exec

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// profile is what the nodes of a query do while it runs. It belongs to the query's goroutine.
type profile struct {
	clock  clock.Clock
	budget *budget
	nodes  map[plan.Node]*nodeProfile
	// below is the memory that the nodes below the one at work have taken since it was called.
	below int64
}

// nodeProfile is what one node has done. Its time holds that of its inputs; its memory is its own.
type nodeProfile struct {
	loops, rows int64
	elapsed     time.Duration
	held, most  int64  // bytes
	way         string // how a table was read; empty for other nodes
}

// of returns what a node has done so far; nil when nothing is measured.
func (p *profile) of(node plan.Node) *nodeProfile {
	if p == nil {
		return nil
	}
	found := p.nodes[node]
	if found == nil {
		found = &nodeProfile{}
		p.nodes[node] = found
	}
	return found
}

// call runs a step of a node and books time and memory, unless nothing is measured.
func (p *profile) call(n *nodeProfile, step func()) {
	if p == nil {
		step()
		return
	}
	begun, used, above := p.clock.Now(), p.budget.usedBytes, p.below
	p.below = 0
	step()
	taken := p.budget.usedBytes - used
	n.held += taken - p.below
	n.most = max(n.most, n.held)
	n.elapsed += p.clock.Now().Sub(begun)
	p.below = above + taken
}

// measure starts a node and watches its operator.
func (p *profile) measure(node plan.Node, start func() (operator, error)) (op operator, err error) {
	n := p.of(node)
	n.loops++
	p.call(n, func() { op, err = start() })
	if err != nil {
		return nil, err
	}
	return &measuredOperator{input: op, profile: p, node: n}, nil
}

// measuredOperator watches another operator.
type measuredOperator struct {
	input   operator
	profile *profile
	node    *nodeProfile
}

func (o *measuredOperator) next(ctx context.Context) (row []datum.Datum, err error) {
	o.profile.call(o.node, func() { row, err = o.input.next(ctx) })
	if row != nil && err == nil {
		o.node.rows++
	}
	return row, err
}

func (o *measuredOperator) close() error { return o.input.close() }

// wayOf says how a table is read within bounds.
func wayOf(bounds *table.Bounds) string {
	switch {
	case bounds.Index != "":
		return fmt.Sprintf(" by=index %s, %d keys", bounds.Index, len(bounds.Points))
	case bounds.Points != nil:
		return fmt.Sprintf(" by=%d keys", len(bounds.Points))
	case bounds.Low != nil || bounds.High != nil:
		return " by=range of keys"
	}
	return " by=whole table"
}

// remark is what is printed behind a node.
func (p *profile) remark(node plan.Node) string {
	n, ran := p.nodes[node]
	if !ran {
		return " (never run)"
	}
	return fmt.Sprintf(" (rows=%d loops=%d time=%s memory=%d%s)", n.rows, n.loops, millis(n.elapsed), n.most, n.way)
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.3fms", float64(d)/float64(time.Millisecond))
}

// analyze runs a query, drops its rows and tells what its nodes did.
func (r *run) analyze(ctx context.Context, s *plan.Analyze) (Result, error) {
	r.profile = &profile{clock: r.engine.deps.Clock, budget: r.budget, nodes: map[plan.Node]*nodeProfile{}}
	begun := r.engine.deps.Clock.Now()
	ran, err := r.query(ctx, s.Query)
	if err != nil {
		return Result{}, err
	}
	elapsed := r.engine.deps.Clock.Now().Sub(begun)
	summary := fmt.Sprintf("rows=%d time=%s result_bytes=%d", ran.RowCount, millis(elapsed), ran.keptBytes)
	return Result{
		Columns: plan.ExplainColumns(), HasRows: true, AsUser: r.session.User, RowCount: 2,
		Rows: [][]datum.Datum{
			{datum.NewText("physical_plan"), datum.NewText(strings.TrimRight(plan.PrintWith(s.Query, r.profile.remark), "\n"))},
			{datum.NewText("execution"), datum.NewText(summary)},
		},
	}, nil
}
