package parse

// Query is SELECT, VALUES or a set operation with its WITH, ORDER BY and LIMIT. It is a Statement, and a
// QueryBody where a parenthesised query with clauses of its own is an operand.
type Query struct {
	Pos
	With     *With // nil when none
	Body     QueryBody
	OrderBy  []OrderItem
	Limit    Expr // nil when none or ALL
	Offset   Expr // nil when none
	WithTies bool // FETCH FIRST .. ROWS WITH TIES
}

// With is a list of common table expressions.
type With struct {
	Pos
	Recursive bool
	Tables    []CommonTable
}

// CommonTable is name [(columns)] AS (query), or, below WithChanges only, AS (change).
type CommonTable struct {
	Pos
	Name         string
	Columns      []Ident
	Materialized Materialization
	Query        *Query    // nil when it is a change
	Change       Statement // *Insert, *Update or *Delete; nil when it is a query
}

// WithChanges is a WITH of which at least one part changes rows, and the statement behind it: a *Query, *Insert, *Update or *Delete
// without a WITH of its own, unless it is a query that was written in parentheses.
type WithChanges struct {
	Pos
	With *With
	Main Statement
}

// Materialization is the hint of a common table expression.
type Materialization uint8

// The hints.
const (
	MaterializeDefault Materialization = iota
	MaterializeAlways
	MaterializeNever
)

// Select is one SELECT without ORDER BY and LIMIT.
type Select struct {
	Pos
	Distinct   bool   // DISTINCT, with or without ON
	DistinctOn []Expr // DISTINCT ON (..)
	Items      []SelectItem
	From       []TableExpr // joined by commas; empty when there is no FROM
	Where      Expr
	GroupBy    []Expr // some may be *GroupingSets
	// GroupDistinct is GROUP BY DISTINCT: grouping sets that are equal count once.
	GroupDistinct bool
	Having        Expr
	Windows       []NamedWindow
}

// SelectItem is one output column: an expression with an alias, or a *Star.
type SelectItem struct {
	Pos
	Expr  Expr
	Alias string // empty when none was written
}

// NamedWindow is one definition of a WINDOW clause.
type NamedWindow struct {
	Pos
	Name   string
	Window *Window
}

// SetOperator is the kind of a set operation.
type SetOperator uint8

// The set operators.
const (
	Union SetOperator = iota
	Intersect
	Except
)

// SetOperation combines two bodies.
type SetOperation struct {
	Pos
	Op    SetOperator
	All   bool
	Left  QueryBody
	Right QueryBody
}

// Values is VALUES (..), (..). In an INSERT a value may be *DefaultValue. Rows all have at least one value;
// that they have the same number is not checked here.
type Values struct {
	Pos
	Rows [][]Expr
}

// TableAlias is AS name [(columns)]; Name is empty when there is none.
type TableAlias struct {
	Pos
	Name    string
	Columns []Ident
}

// TableRef is a table, view or common table named in FROM.
type TableRef struct {
	Pos
	Name  ObjectName
	Alias TableAlias
}

// SubqueryRef is a query in parentheses in FROM.
type SubqueryRef struct {
	Pos
	Lateral bool
	Query   *Query
	Alias   TableAlias // may be empty
}

// FunctionRef is a table function in FROM.
type FunctionRef struct {
	Pos
	Lateral    bool
	Call       *FuncCall
	Ordinality bool // WITH ORDINALITY
	Alias      TableAlias
}

// JoinKind is the kind of a join.
type JoinKind uint8

// The kinds of joins.
const (
	InnerJoin JoinKind = iota
	LeftJoin
	RightJoin
	FullJoin
	CrossJoin
)

// Join is a join of two tables. Except for CrossJoin exactly one of On, Using and Natural is set.
type Join struct {
	Pos
	Kind    JoinKind
	Natural bool
	Left    TableExpr
	Right   TableExpr
	On      Expr
	Using   []Ident
}

// Insert is INSERT INTO. Source is nil for DEFAULT VALUES; otherwise its Body is *Values or a query.
type Insert struct {
	Pos
	With       *With
	Table      ObjectName
	Alias      string
	Columns    []Ident // empty means all, in order
	Source     *Query
	OnConflict *OnConflict
	Returning  []SelectItem
}

// OnConflict is ON CONFLICT [(columns) [WHERE ..]] [ON CONSTRAINT name] DO NOTHING | DO UPDATE SET .. [WHERE ..].
type OnConflict struct {
	Pos
	Columns     []Ident // target columns; empty when none were written
	TargetWhere Expr
	Constraint  string
	Set         []Assignment // empty for DO NOTHING
	Where       Expr
}

// Assignment is column = value, or (columns) = value when Tuple is set; the value of a tuple is a *Row, a
// *Subquery or another expression for a single column.
type Assignment struct {
	Pos
	Columns []Ident
	Tuple   bool
	Value   Expr
}

// Update is UPDATE .. SET.
type Update struct {
	Pos
	With      *With
	Table     ObjectName
	Alias     string
	Set       []Assignment
	From      []TableExpr
	Where     Expr
	Returning []SelectItem
}

// Delete is DELETE FROM.
type Delete struct {
	Pos
	With      *With
	Table     ObjectName
	Alias     string
	Using     []TableExpr
	Where     Expr
	Returning []SelectItem
}

func (*Query) queryBody()        {}
func (*Select) queryBody()       {}
func (*SetOperation) queryBody() {}
func (*Values) queryBody()       {}

func (*TableRef) tableExpression()    {}
func (*SubqueryRef) tableExpression() {}
func (*FunctionRef) tableExpression() {}
func (*Join) tableExpression()        {}

func (*Query) statement()  {}
func (*Insert) statement() {}
func (*Update) statement() {}
func (*Delete) statement() {}

func (*WithChanges) statement() {}
