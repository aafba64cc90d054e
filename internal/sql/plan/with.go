package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Shared is a query whose rows are computed once, however often a statement reads them.
type Shared struct {
	Name  string
	Input Node
	// readers counts the places that read it; kept says that its rows are wanted more often than that, or that the statement
	// asks for them to be kept.
	readers int
	kept    bool
	size    *estimate // nil until somebody asked
}

// Width implements Node.
func (s *Shared) Width() int { return s.Input.Width() }

// Recursive computes Base, and then Step over what the last round added, until a round adds nothing. With
// Distinct a row that was there before is dropped.
type Recursive struct {
	Base, Step Node
	Work       *WorkTable
	Distinct   bool
}

// Width implements Node.
func (r *Recursive) Width() int { return r.Work.width }

// WorkTable gives the rows that the last round of a Recursive added.
type WorkTable struct {
	Name  string
	width int
}

// Width implements Node.
func (w *WorkTable) Width() int { return w.width }

// namedTables is a chain of common table expressions, the innermost first. Nil is empty.
type namedTables struct {
	parent  *namedTables
	name    string
	node    Node
	columns []Column
	// nested marks the entry to an expression: a recursive reference must not come from within one,
	// because what it gave would change from round to round.
	nested bool
}

func (n *namedTables) within() *namedTables { return &namedTables{parent: n, nested: true} }

func (n *namedTables) find(name string) (found *namedTables, nested bool) {
	for ; n != nil; n = n.parent {
		if n.nested {
			nested = true
			continue
		}
		if n.name == name {
			return n, nested
		}
	}
	return nil, false
}

// with plans common table expressions and makes them known to what follows. They see no columns of
// queries around them.
func (b *queryBuilder) with(node *parse.With) error {
	if node == nil {
		return nil
	}
	first := b.named
	for i := range node.Tables {
		common := &node.Tables[i]
		for known := b.named; known != first; known = known.parent {
			if known.name == common.Name {
				return invalid(common, "WITH query name %q is used twice", common.Name)
			}
		}
		if err := b.commonTable(node, common); err != nil {
			return err
		}
	}
	return nil
}

func (b *queryBuilder) commonTable(node *parse.With, common *parse.CommonTable) error {
	if *b.relations++; *b.relations > maxRelations {
		return invalid(common, "the statement reads more than %d tables", maxRelations)
	}
	if operation, ok := common.Query.Body.(*parse.SetOperation); ok && node.Recursive && mentions(operation.Right, common.Name) {
		return b.recursive(common, operation)
	}
	if node.Recursive && mentions(common.Query, common.Name) {
		return invalid(common, "recursive query %q must have the form first-part UNION [ALL] recursive-part", common.Name)
	}
	inner := &queryBuilder{env: b.env, named: b.named.within(), relations: b.relations, repeats: b.repeats}
	root, columns, err := inner.query(common.Query)
	if err != nil {
		return err
	}
	b.scans = append(b.scans, inner.scans...)
	if columns, err = renamed(common, columns, common.Columns); err != nil {
		return err
	}
	shared := &Shared{Name: common.Name, Input: root, kept: b.keeps || common.Materialized == parse.MaterializeAlways}
	b.named = &namedTables{parent: b.named, name: common.Name, columns: columns, node: shared}
	return nil
}

// mentions reports whether a query names a table.
func mentions(node parse.Node, name string) bool {
	found := false
	parse.Inspect(node, func(inner parse.Node) bool {
		if ref, ok := inner.(*parse.TableRef); ok && ref.Name.Namespace == "" && ref.Name.Name == name {
			found = true
		}
		return !found
	})
	return found
}

// renamed gives columns the names that a WITH or an alias lists.
func renamed(node parse.Node, columns []Column, names []parse.Ident) ([]Column, error) {
	if len(names) > len(columns) {
		return nil, invalid(node, "%d columns are named but there are %d", len(names), len(columns))
	}
	out := make([]Column, len(columns))
	copy(out, columns)
	for i, name := range names {
		out[i].Name = name.Name
	}
	return out, nil
}

// recursive plans first-part UNION [ALL] recursive-part.
func (b *queryBuilder) recursive(common *parse.CommonTable, operation *parse.SetOperation) error {
	outer := common.Query
	switch {
	case operation.Op != parse.Union || mentions(operation.Left, common.Name):
		return invalid(common, "recursive query %q must have the form first-part UNION [ALL] recursive-part", common.Name)
	case len(outer.OrderBy) > 0 || outer.Limit != nil || outer.Offset != nil || outer.With != nil:
		return unsupported(common, "WITH, ORDER BY and LIMIT in a recursive query are not supported; use them around it")
	}
	base := &queryBuilder{env: b.env, named: b.named.within(), relations: b.relations, repeats: b.repeats}
	root, columns, err := base.body(operation.Left)
	if err != nil {
		return err
	}
	if columns, err = renamed(common, columns, common.Columns); err != nil {
		return err
	}
	root, columns = workColumns(root, columns)
	work := &WorkTable{Name: common.Name, width: len(columns)}
	step := &queryBuilder{env: b.env, relations: b.relations, repeats: true}
	step.named = &namedTables{parent: b.named.within(), name: common.Name, node: work, columns: columns}
	next, nextColumns, err := step.body(operation.Right)
	if err != nil {
		return err
	}
	if len(nextColumns) != len(columns) {
		return invalid(operation, "the parts of a recursive query have %d and %d columns", len(columns), len(nextColumns))
	}
	casts := make([]expr.Expr, len(columns))
	for i := range columns {
		common, ok := expr.CommonType(columns[i].Type, nextColumns[i].Type)
		if !ok || common.Kind != columns[i].Type.Kind {
			return invalid(operation, "column %q of a recursive query is %s in its first part and %s in the other; cast one of them",
				columns[i].Name, columns[i].Type, nextColumns[i].Type)
		}
		casts[i] = expr.NewCast(expr.NewColumn(i, nextColumns[i].Type, nextColumns[i].Name), columns[i].Type)
	}
	b.scans = append(append(b.scans, base.scans...), step.scans...)
	recursive := &Recursive{Base: root, Step: &Project{Input: next, Exprs: casts}, Work: work, Distinct: !operation.All}
	b.named = &namedTables{parent: b.named, name: common.Name, columns: columns, node: &Shared{Name: common.Name, Input: recursive, kept: b.keeps}}
	return nil
}

// workColumns are the columns of a work table. A decimal keeps all its digits from step to step: its first rows, such as the
// literal 1.5, do not say how many the later ones have.
func workColumns(root Node, columns []Column) (Node, []Column) {
	wide := make([]Column, len(columns))
	for i, column := range columns {
		column.Flags = 0
		if column.Type.Kind == datum.Decimal {
			column.Type = datum.Of(datum.Decimal)
		}
		wide[i] = column
	}
	return castColumns(root, columns, wide), wide
}

// common gives the rows of a common table expression.
func (b *queryBuilder) common(ref *parse.TableRef, found *namedTables, nested bool) (relation, error) {
	if _, working := found.node.(*WorkTable); working && nested {
		return relation{}, unsupported(ref, "the recursive reference to %q must not stand within a subquery", found.name)
	}
	if found.node == nil {
		return relation{}, invalid(ref, "WITH query %q gives no rows: it has no RETURNING", found.name)
	}
	if shared, ok := found.node.(*Shared); ok {
		shared.readers++
		shared.kept = shared.kept || b.repeats
	}
	alias := ref.Alias.Name
	if alias == "" {
		alias = found.name
	}
	return namedRelation(ref, found.node, found.columns, alias, ref.Alias.Columns)
}

// namedRelation gives the columns of a query names in FROM.
func namedRelation(node parse.Node, rows Node, columns []Column, alias string, names []parse.Ident) (relation, error) {
	columns, err := renamed(node, columns, names)
	if err != nil {
		return relation{}, err
	}
	scope := make([]expr.Column, len(columns))
	for i := range columns {
		scope[i] = expr.Column{Table: alias, Name: columns[i].Name, Type: columns[i].Type, Position: i, Fields: columns[i].Fields}
	}
	return relation{node: rows, scope: expr.NewScope(scope...), flags: make([]Flags, len(columns))}, nil
}
