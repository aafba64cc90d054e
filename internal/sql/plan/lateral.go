package plan

import (
	"maps"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Function gives the rows of a function in FROM. Its arguments read rows of queries around it only.
type Function struct {
	Call       *expr.TableCall
	Ordinality bool // a last column counts the rows
}

// Width implements Node.
func (f *Function) Width() int {
	if f.Ordinality {
		return len(f.Call.Columns) + 1
	}
	return len(f.Call.Columns)
}

// Lateral runs its right side anew for each row of the left one, which the right side reads as a row of a query around it. Its rows
// are those of both sides.
type Lateral struct {
	Left, Right Node
	// KeepsLeft gives a left row without a partner once, with NULLs.
	KeepsLeft bool
	// Condition holds for every pair that is given, over both rows; nil is all.
	Condition expr.Expr
	// Reads are the positions of the left row that the right side reads.
	Reads []int
}

// Width implements Node.
func (l *Lateral) Width() int { return l.Left.Width() + l.Right.Width() }

// seesLeft reports whether an item of FROM may name the columns of those before it.
func seesLeft(item parse.TableExpr) bool {
	switch node := item.(type) {
	case *parse.FunctionRef:
		return true
	case *parse.SubqueryRef:
		return node.Lateral
	}
	return false
}

// beside plans an item of FROM that may read the rows of those before it. reads is nil when it does not, and then it is planned as
// if it stood alone.
func (b *queryBuilder) beside(left relation, item parse.TableExpr) (right relation, lateral *Lateral, err error) {
	if !seesLeft(item) {
		right, err = b.item(item)
		return right, nil, err
	}
	around := &enclosing{builder: b, scope: left.scope, options: b.scoped("FROM", left.scope, nil), reads: map[int]expr.Expr{}}
	inner := &queryBuilder{env: b.env, outer: around, named: b.named.within(), relations: b.relations, repeats: true}
	if right, err = inner.item(item); err != nil {
		return relation{}, nil, err
	}
	if len(around.reads) == 0 && !around.deep {
		// It reads nothing of the rows around it, so it can be joined like any other. A side that reads rows further out counts
		// the left one among those around it.
		right, err = b.item(item)
		return right, nil, err
	}
	b.scans = append(b.scans, inner.scans...)
	right.leaves = nil
	return right, &Lateral{Reads: slices.Sorted(maps.Keys(around.reads))}, nil
}

// combineBeside puts two relations side by side, the right one lateral when it is one.
func combineBeside(node parse.Node, kind parse.JoinKind, left, right relation, lateral *Lateral) (relation, error) {
	joined, err := combine(node, kind, left, right)
	if err != nil || lateral == nil {
		return joined, err
	}
	if kind == parse.RightJoin || kind == parse.FullJoin {
		if len(lateral.Reads) > 0 {
			return relation{}, invalid(node, "a lateral item cannot be the right side of a RIGHT or FULL join")
		}
		return relation{}, unsupported(node, "a RIGHT or FULL join with a function or LATERAL on its right is not supported; put it on the left")
	}
	lateral.Left, lateral.Right, lateral.KeepsLeft = left.node, right.node, kind == parse.LeftJoin
	joined.node = lateral
	return joined, nil
}

// function plans a function in FROM.
func (b *queryBuilder) function(ref *parse.FunctionRef) (relation, error) {
	call, err := expr.BindTableFunction(ref.Call, b.scoped("FROM", nil, nil))
	if err != nil {
		return relation{}, err
	}
	columns := make([]Column, 0, len(call.Columns)+1)
	for _, column := range call.Columns {
		columns = append(columns, Column{Name: column.Name, Type: column.Type})
	}
	alias := ref.Alias.Name
	if alias == "" {
		alias = call.Name
	}
	if call.Scalar && columns[0].Name == call.Name && len(ref.Alias.Columns) == 0 {
		columns[0].Name = alias
	}
	if ref.Ordinality {
		columns = append(columns, Column{Name: "ordinality", Type: datum.Of(datum.BigInt)})
	}
	rows, err := namedRelation(ref, &Function{Call: call, Ordinality: ref.Ordinality}, columns, alias, ref.Alias.Columns)
	if err != nil || !call.Scalar || columns[0].Name == alias {
		return rows, err
	}
	// The alias of a function with one value names the value too.
	named := slices.Clone(rows.scope.Columns())
	if !slices.ContainsFunc(named, func(c expr.Column) bool { return c.Name == alias }) {
		named = append(named, expr.Column{Table: alias, Name: alias, Type: columns[0].Type, Position: 0, Hidden: true})
	}
	rows.scope = expr.NewScope(named...)
	return rows, nil
}

// lateral splits what is read between the sides; the left one gives what the right one reads too.
func (m marker) lateral(n *Lateral, used map[int]bool) {
	if used == nil {
		m.mark(n.Left, nil)
		m.mark(n.Right, nil)
		return
	}
	left, right := split(join(used, n.Condition), n.Left.Width())
	for _, position := range n.Reads {
		left[position] = true
	}
	m.mark(n.Left, left)
	m.mark(n.Right, right)
}

func (f *Function) describe(p *printer) {
	ordinality := ""
	if f.Ordinality {
		ordinality = " with ordinality"
	}
	p.line("Function: %s(%s)%s", f.Call.Name, list(f.Call.Args), ordinality)
}

func (l *Lateral) describe(p *printer) {
	text := "Lateral"
	if l.KeepsLeft {
		text = "LeftLateral"
	}
	if l.Condition != nil {
		text += " where=" + l.Condition.String()
	}
	p.line("%s", text)
	p.child(l.Left)
	p.child(l.Right)
}
