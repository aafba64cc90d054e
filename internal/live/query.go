package live

import (
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// query is a bound live query.
type query struct {
	scope      table.Scope
	projection *Projection
	condition  expr.Expr         // nil is every row; depends on nothing but the row
	eval       *expr.EvalContext // nil without a condition
	bounds     *table.Bounds     // of the primary key, for the initial rows; nil reads all
	// indexed is the position of a column that the condition compares for equality, -1 when there is none;
	// values are the encodings it must have one of.
	indexed int
	values  []string
	exact   bool       // the condition says that and nothing else, or there is none
	view    *viewQuery // nil when changes are given row by row
}

// parseQuery reads the text and refuses everything that is not one SELECT without parameters.
func parseQuery(text string) (*parse.Query, error) {
	batch, err := parse.ParseBatch(text)
	if err != nil {
		return nil, err
	}
	if len(batch) != 1 {
		return nil, refuse(CodeInvalidSQL, "a live query is one SELECT statement")
	}
	node, ok := batch[0].Statement.(*parse.Query)
	if !ok {
		return nil, refuse(CodeInvalidSQL, "a live query is a SELECT statement")
	}
	if batch[0].Parameters > 0 {
		return nil, refuse(CodeInvalidSQL, "a live query cannot have a parameter")
	}
	return node, nil
}

// plainSelect refuses everything that is not SELECT FROM ns.table.
func plainSelect(node *parse.Query) (*parse.Select, *parse.TableRef, error) {
	body, ok := node.Body.(*parse.Select)
	if !ok {
		return nil, nil, refuse(CodeInvalidSQL, "a live query is a plain SELECT; VALUES and set operations are not supported")
	}
	clause := ""
	switch {
	case node.With != nil:
		clause = "WITH"
	case body.Distinct:
		clause = "DISTINCT"
	case len(body.Windows) > 0:
		clause = "WINDOW"
	}
	if clause != "" {
		return nil, nil, refuse(CodeInvalidSQL, "a live query cannot have %s", clause)
	}
	if len(body.From) != 1 {
		return nil, nil, refuse(CodeInvalidSQL, "a live query reads exactly one table")
	}
	ref, ok := body.From[0].(*parse.TableRef)
	if !ok {
		return nil, nil, refuse(CodeInvalidSQL, "a live query reads one table; joins, subqueries and functions in FROM are not supported")
	}
	if ref.Name.Namespace == "" {
		return nil, nil, refuse(CodeInvalidSQL, "the table of a live query must be qualified, as in namespace.table")
	}
	if len(ref.Alias.Columns) > 0 {
		return nil, nil, refuse(CodeInvalidSQL, "a live query cannot have column aliases")
	}
	return body, ref, nil
}

// bind checks a live query against the catalog for a caller. The caller's name and the time are values in the
// bound condition, never text.
func bind(current *catalog.Catalog, caller session.Session, text string, nowMicros int64, rows *cold.Store) (*query, error) {
	node, err := parseQuery(text)
	if err != nil {
		return nil, err
	}
	if body, ok := node.Body.(*parse.Select); ok && isView(node, body) {
		return bindView(current, caller, node, nowMicros, rows)
	}
	body, ref, err := plainSelect(node)
	if err != nil {
		return nil, err
	}
	found, err := visibleTable(current, caller, ref)
	if err != nil {
		return nil, err
	}
	q := &query{indexed: -1}
	if q.scope, err = scopeOf(current, caller, found); err != nil {
		return nil, err
	}
	q.scope.Cold = rows
	if q.projection, err = project(caller, found, ref, body.Items); err != nil {
		return nil, err
	}
	if err = q.bindCondition(caller, found, ref, body.Where, nowMicros); err != nil {
		return nil, err
	}
	return q, q.index()
}

// bindCondition binds WHERE; the caller and the time become values.
func (q *query) bindCondition(
	caller session.Session, found *schema.Table, ref *parse.TableRef, where parse.Expr, nowMicros int64,
) error {
	if where == nil {
		return nil
	}
	q.eval = expr.NewEvalContext(&expr.Env{NowMicros: nowMicros, User: caller.User, Role: caller.Role})
	condition, err := expr.BindCondition(where, columnScope(found, ref), expr.Options{Clause: "WHERE of a live query"})
	if err != nil {
		return err
	}
	q.condition = expr.Prepare(condition, q.eval)
	return nil
}

// visibleTable finds the table. One that must not be seen is refused like one that does not exist.
func visibleTable(current *catalog.Catalog, caller session.Session, ref *parse.TableRef) (*schema.Table, error) {
	if caller.Role < session.RoleUser {
		return nil, refuse(CodeUnauthorized, "live queries need a role")
	}
	namespace, name := ref.Name.Namespace, ref.Name.Name
	if table.IsViewNamespace(namespace) {
		if !caller.Role.IsAdmin() {
			return nil, refuse(CodeUnauthorized, "access denied: system tables need role dba or system")
		}
		return nil, refuse(CodeUnsupported, "live queries on system tables are not supported")
	}
	if view, ok := current.View(namespace, name); ok && plan.CanSeeView(current, caller.Role, view) {
		return nil, refuse(CodeUnsupported, "live queries on views are not supported; subscribe to a table that the view reads")
	}
	found, ok := current.Table(namespace, name)
	if !ok || !plan.CanSee(caller.Role, found) {
		return nil, fault.New(fault.TableNotFound, "table '%s.%s' not found or access denied", namespace, name)
	}
	if found.PrimaryKey() < 0 && found.Kind != schema.KindStream {
		return nil, refuse(CodeUnsupported, "live queries need a table with a primary key")
	}
	return found, nil
}

// scopeOf says where the rows of the table are that exist for the caller.
func scopeOf(current *catalog.Catalog, caller session.Session, found *schema.Table) (table.Scope, error) {
	if found.Kind == schema.KindShared {
		return table.SharedScope(found), nil
	}
	cluster := current.Cluster()
	if cluster == nil {
		return table.Scope{}, refuse(CodeFailed, "the cluster is not founded yet; try again")
	}
	return table.UserScope(found, cluster.Shards, caller.User), nil
}

// columnScope names the columns for the condition: the declared ones, then _seq and _deleted.
func columnScope(found *schema.Table, ref *parse.TableRef) *expr.Scope {
	columns := schema.WithSystemColumns(found)
	names := make([]expr.Column, len(columns))
	for i := range columns {
		names[i] = expr.Column{
			Namespace: found.Namespace, Table: found.Name, Name: columns[i].Name, Type: columns[i].Type, Position: i,
		}
		if ref.Alias.Name != "" {
			names[i].Namespace, names[i].Table = "", ref.Alias.Name
		}
	}
	return expr.NewScope(names...)
}

// maxIndexedValues bounds the entries of one subscription in the index; a longer IN list is tested row by row.
const maxIndexedValues = 64

// index finds what the condition says about keys: bounds of the primary key, and a column to look it up by.
func (q *query) index() error {
	if q.condition == nil {
		q.exact = true
		return nil
	}
	found := q.scope.Table
	for i := range found.Columns {
		keyRange, err := expr.KeyRangeOf(q.condition, i, found.Columns[i].Type, q.eval)
		if err != nil {
			return err
		}
		if found.Columns[i].PrimaryKey {
			if bounds := table.BoundsOf(keyRange); bounds.Points != nil || bounds.Low != nil || bounds.High != nil {
				q.bounds = &bounds
			}
		}
		if !keyRange.IsPoints || len(keyRange.Points) > maxIndexedValues || q.indexed >= 0 && len(q.values) <= len(keyRange.Points) {
			continue
		}
		q.indexed, q.values = i, make([]string, len(keyRange.Points))
		for n, point := range keyRange.Points {
			q.values[n] = string(datum.AppendKey(nil, point))
		}
	}
	if conjuncts := expr.Conjuncts(q.condition); q.indexed >= 0 && len(conjuncts) == 1 {
		_, q.exact = expr.KeyConstraint(conjuncts[0], q.indexed)
	}
	return nil
}

// matches tests a row.
func (q *query) matches(row []datum.Datum) (bool, error) {
	if q.condition == nil {
		return true, nil
	}
	return expr.Test(q.condition, q.eval, row)
}

// Projection is what a subscriber sees of a row: columns of the table by position, and their names.
type Projection struct {
	Table     *schema.Table
	positions []int
	names     []string // as JSON strings with the colon behind them
	star      bool     // every column, _seq and _deleted
	key       int      // position of the primary key, -1 when there is none
	masked    []bool   // by position: what the subscriber is shown as asterisks; nil for nothing
	keyName   string
	identity  string          // two projections of one stream with the same identity give the same bytes
	result    []schema.Column // of a query whose result is kept; nil for others
}

// project reads a select list: * or plain columns.
func project(caller session.Session, found *schema.Table, ref *parse.TableRef, items []parse.SelectItem) (*Projection, error) {
	p := &Projection{Table: found, key: found.PrimaryKey(), masked: maskedColumns(caller.Role, found)}
	if p.key >= 0 {
		p.keyName = jsonName(found.Columns[p.key].Name)
	}
	scope := columnScope(found, ref)
	for i := range items {
		switch node := items[i].Expr.(type) {
		case *parse.Star:
			if _, err := scope.Expand(node); err != nil {
				return nil, err
			}
			if len(items) != 1 {
				return nil, refuse(CodeInvalidSQL, "a live query selects * or columns, not both")
			}
			p.star = true
			for n := range found.Columns {
				p.add(n, found.Columns[n].Name)
			}
		case *parse.ColumnRef:
			column, err := scope.Resolve(node)
			if err != nil {
				return nil, err
			}
			if column.Position >= len(found.Columns) {
				return nil, refuse(CodeInvalidSQL, "a live query cannot select %s: it is part of every row that is sent", column.Name)
			}
			if items[i].Alias != "" && items[i].Alias != column.Name {
				return nil, refuse(CodeInvalidSQL, "a live query cannot rename column %s", column.Name)
			}
			p.add(column.Position, column.Name)
		default:
			return nil, refuse(CodeInvalidSQL, "a live query selects * or plain columns")
		}
	}
	var identity strings.Builder
	identity.WriteString(strconv.FormatUint(uint64(found.ID), 10))
	identity.WriteByte('@')
	identity.WriteString(strconv.FormatUint(uint64(found.Version), 10))
	if p.star {
		identity.WriteByte('*')
	} else {
		for _, position := range p.positions {
			identity.WriteByte(',')
			identity.WriteString(strconv.Itoa(position))
		}
	}
	if p.masked != nil {
		identity.WriteString("***")
	}
	p.identity = identity.String()
	return p, nil
}

// maskedColumns are the columns of a table that a role is not shown; nil for none.
func maskedColumns(role session.Role, found *schema.Table) []bool {
	var masked []bool
	for i := range found.Columns {
		if exec.Masks(role, found.Columns[i].Name) {
			if masked == nil {
				masked = make([]bool, len(found.Columns))
			}
			masked[i] = true
		}
	}
	return masked
}

func (p *Projection) add(position int, name string) {
	p.positions = append(p.positions, position)
	p.names = append(p.names, jsonName(name))
}

func jsonName(name string) string {
	return string(append(datum.AppendJSONString(nil, name), ':'))
}

// Columns are the columns of the subscription's schema, in order.
func (p *Projection) Columns() []schema.Column {
	if p.result != nil {
		return p.result
	}
	all := schema.WithSystemColumns(p.Table)
	if p.star {
		return all
	}
	columns := make([]schema.Column, len(p.positions))
	for i, position := range p.positions {
		columns[i] = all[position]
	}
	return columns
}
