package plan

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Joined are the rows of UPDATE ... FROM and DELETE ... USING: those of the changed table, with _seq and _deleted, each followed by what was
// found beside it. A row that is found with several others is changed once, with the first of them.
type Joined struct {
	Root Node
}

// joined plans the rows of a change that reads other tables beside its own. The scope is that of the whole rows.
func (b *queryBuilder) joined(ref parse.Node, found *schema.Table, alias string, items []parse.TableExpr, where parse.Expr) (*Scan, relation, error) {
	if found.Kind == schema.KindStream {
		return nil, relation{}, unsupported(items[0], "rows of STREAM tables cannot be chosen by other tables; use a subquery in WHERE")
	}
	scan, err := b.env.scan(ref, found)
	if err != nil {
		return nil, relation{}, err
	}
	b.scans = append(b.scans, scan)
	scope, flags := tableScope(found, alias)
	rows := relation{node: scan, scope: scope, flags: flags, leaves: []leaf{{scan: scan, pushable: true}}}
	for _, item := range items {
		right, lateral, failed := b.beside(rows, item)
		if failed != nil {
			return nil, relation{}, failed
		}
		if rows, err = combineBeside(item, parse.CrossJoin, rows, right, lateral); err != nil {
			return nil, relation{}, err
		}
	}
	err = b.where(&rows, where)
	scan.IncludeDeleted = false // a tombstone cannot be changed, whatever WHERE says of _deleted
	return scan, rows, err
}

// finishJoined optimizes the rows and reads no more of them than the change needs.
func (b *queryBuilder) finishJoined(rows relation, found *schema.Table, assignments []Assignment, returning *Returning) *Joined {
	root := b.env.optimize(rows.node)
	used := map[int]bool{}
	for i := range len(found.Columns) + 1 { // _seq is what the change expects of the row
		used[i] = true
	}
	for i := range assignments {
		used = join(used, assignments[i].Value)
	}
	if returning != nil {
		used = join(used, returning.Exprs...)
	}
	marker{}.mark(root, used)
	return &Joined{Root: root}
}

// withoutSystem leaves _seq and _deleted of the changed table out of a scope: those of the new version are not known before it is applied.
func withoutSystem(scope *expr.Scope, found *schema.Table) *expr.Scope {
	declared := len(found.Columns)
	columns := slices.DeleteFunc(slices.Clone(scope.Columns()), func(c expr.Column) bool {
		return c.Position == declared || c.Position == declared+1
	})
	return expr.NewScope(columns...)
}

// aliased gives the columns of a table the names that its alias lists. System columns keep theirs.
func aliased(ref *parse.TableRef, scope *expr.Scope) (*expr.Scope, error) {
	names := ref.Alias.Columns
	if len(names) == 0 {
		return scope, nil
	}
	columns := slices.Clone(scope.Columns())
	named := 0
	for i := range columns {
		if named < len(names) && !columns[i].System {
			columns[i].Name = names[named].Name
			named++
		}
	}
	if named < len(names) {
		return nil, invalid(ref, "%d columns are named but there are %d", len(names), named)
	}
	return expr.NewScope(columns...), nil
}

func (s *Update) rows() Node { return s.Joined.or(s.Scan) }

func (s *Delete) rows() Node { return s.Joined.or(s.Scan) }

func (j *Joined) or(scan *Scan) Node {
	if j == nil {
		return scan
	}
	return j.Root
}
