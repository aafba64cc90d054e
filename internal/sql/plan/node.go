package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// Node is a part of a query that gives rows. Expressions of a node read the rows of its input, unless it
// says otherwise.
type Node interface {
	// Width is the number of values in a row.
	Width() int
	describe(p *printer)
}

// Scan reads a user or shared table in ascending order of its primary key. Its rows are the declared
// columns, then _seq and _deleted. Of a table of private rows those of whoever carries the plan out exist
// for it, and no others: a plan does not say whose.
type Scan struct {
	Table *schema.Table
	// Needed says which positions are read by anything above; the others are left NULL.
	Needed []bool
	// Decoder decodes them.
	Decoder *schema.RowDecoder
	// Condition holds for every row that is given; nil is all. Key bounds are derived from it when the
	// values of parameters are known.
	Condition expr.Expr
	// IncludeDeleted shows tombstones, because the statement's WHERE speaks of _deleted.
	IncludeDeleted bool
	// Index is how the rows may be found instead of going through all of them; nil when no index helps.
	Index *IndexChoice
}

// ViewScan computes the rows of a view: what it tells of is what whoever carries the plan out may know of.
type ViewScan struct {
	View      *schema.Table
	Condition expr.Expr
}

// Rows gives the rows of VALUES, or the one row without columns of a SELECT without FROM.
type Rows struct {
	Values [][]expr.Expr
	width  int
}

// Filter keeps the rows for which the condition is true.
type Filter struct {
	Input     Node
	Condition expr.Expr
}

// Aggregate groups rows. Its rows are the values of Grouping.Keys followed by the results of
// Grouping.Calls, in the order in which groups were first seen, set by set where there are grouping sets. A set without keys has
// exactly one group.
type Aggregate struct {
	Input    Node
	Grouping *expr.Grouping
}

// Sort orders rows; rows that compare as equal keep their order.
type Sort struct {
	Input Node
	Keys  []expr.Order
	// Top bounds how many of the first rows are needed; nil means all.
	Top *Limit
	// ByIndex finds the first rows when the input is a scan; nil when no index does.
	ByIndex *IndexOrder
	// FromEnd says that the first rows are the last ones of the scan that is the input, which is in the order of its key.
	FromEnd bool
}

// Project computes the values of each row.
type Project struct {
	Input Node
	Exprs []expr.Expr
}

// Distinct drops every row that equals one before it. NULLs are equal here.
type Distinct struct {
	Input Node
}

// Limit skips and cuts off rows.
type Limit struct {
	Input  Node
	Count  expr.Expr // nil or NULL means Default
	Offset expr.Expr // nil or NULL means zero
	// Default is the count of a query without LIMIT, Max bounds every count; zero means none.
	Default, Max int64
	// Ties are the keys of the order of the input: rows that equal the last one in them are given too, up to Max rows. Nil is none.
	Ties []expr.Order
}

// Width implements Node.
func (s *Scan) Width() int { return len(s.Table.Columns) + 2 }

// Width implements Node.
func (s *ViewScan) Width() int { return len(s.View.Columns) }

// Width implements Node.
func (r *Rows) Width() int { return r.width }

// Width implements Node.
func (f *Filter) Width() int { return f.Input.Width() }

// Width implements Node.
func (a *Aggregate) Width() int { return len(a.Grouping.Keys) + len(a.Grouping.Calls) }

// Width implements Node.
func (s *Sort) Width() int { return s.Input.Width() }

// Width implements Node.
func (n *Project) Width() int { return len(n.Exprs) }

// Width implements Node.
func (d *Distinct) Width() int { return d.Input.Width() }

// Width implements Node.
func (l *Limit) Width() int { return l.Input.Width() }

// Query is a statement that gives rows.
type Query struct {
	Root    Node
	Columns []Column // of the result, one for each value of Root's rows
	// Groups of the tables that are read are found through Scans.
	Scans []*Scan
}

// Assignment gives a column of a table a value computed over its row.
type Assignment struct {
	Position int
	Value    expr.Expr
}

// Insert adds rows. Source gives one value for each target; a nil expression in Values stands for the
// column's default, and so does every column that is no target.
type Insert struct {
	Table   *schema.Table // private rows are those of whoever carries the plan out
	Targets []int         // positions of the columns that are given, in the order of the source
	Values  [][]expr.Expr // rows of a VALUES source; nil when Source is set
	Source  Node
	Scans   []*Scan // of the source and of subqueries
	// Casts convert the source's rows to the types of the targets.
	Casts     []expr.Expr
	Conflict  *Conflict  // nil when a taken key is an error
	Returning *Returning // nil when only the number of rows is asked
}

// Update changes the rows of a scan.
type Update struct {
	Scan        *Scan
	Joined      *Joined // of UPDATE ... FROM; nil for others, whose rows are those of Scan
	Assignments []Assignment
	Sources     []*Scan // of subqueries, and of Joined
	Returning   *Returning
}

// Delete turns the rows of a scan into tombstones.
type Delete struct {
	Scan      *Scan
	Joined    *Joined // of DELETE ... USING; nil for others, whose rows are those of Scan
	Sources   []*Scan // of subqueries, and of Joined
	Returning *Returning
}

// Describe is a statement whose rows are known when it is planned: DESCRIBE and EXPLAIN.
type Describe struct {
	Columns []Column
	Rows    [][]datum.Datum
}

func (*Query) statement()    {}
func (*Insert) statement()   {}
func (*Update) statement()   {}
func (*Delete) statement()   {}
func (*Describe) statement() {}

// Bounds returns the key bounds that a scan's condition implies, given an evaluation context with the
// values of parameters. An error is one of evaluating a value that the key is compared with.
func (s *Scan) Bounds(ctx *expr.EvalContext) (table.Bounds, error) {
	key := s.Table.PrimaryKey()
	if key < 0 || s.Condition == nil {
		return table.Bounds{}, nil
	}
	keyRange, err := expr.KeyRangeOf(s.Condition, key, s.Table.Columns[key].Type, ctx)
	if err != nil {
		return table.Bounds{}, err
	}
	return table.BoundsOf(keyRange), nil
}
