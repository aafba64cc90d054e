package parse

// Pos is a place in the SQL text: the first byte of the token that a node is reported at. The zero Pos
// belongs to nodes that did not come from text.
type Pos struct {
	Offset int32 // bytes from the start of the text
	Line   int32 // 1-based
	Column int32 // 1-based, in characters
}

// Position returns the place itself; embedding Pos gives every node this method.
func (p Pos) Position() Pos { return p }

// Node is any part of a syntax tree.
type Node interface {
	// Position returns where the node is reported in the text it was parsed from.
	Position() Pos
}

// Statement is a whole SQL statement. All implementations are pointers to structs of this package.
type Statement interface {
	Node
	statement()
}

// Expr is a scalar expression. All implementations are pointers to structs of this package.
type Expr interface {
	Node
	expression()
}

// TableExpr is an item of a FROM clause: *TableRef, *SubqueryRef, *FunctionRef or *Join.
type TableExpr interface {
	Node
	tableExpression()
}

// QueryBody is what a Query orders and limits: *Select, *SetOperation, *Values or a parenthesised *Query.
type QueryBody interface {
	Node
	queryBody()
}

// Ident is one name with its place, folded to lower case unless it was quoted.
type Ident struct {
	Pos
	Name string
}

// ObjectName is the possibly qualified name of a table, view, function or topic. Parts that were not
// written are empty.
type ObjectName struct {
	Pos
	Catalog   string // first of three parts
	Namespace string
	Name      string
}

// TypeName is the name of a data type as written, in lower case. Words are joined by one space, as in
// "double precision" and "timestamp with time zone"; a pg_catalog qualifier is dropped.
type TypeName struct {
	Pos
	Name   string
	Args   []int    // length, precision and scale, dimension; nil when none were given
	Labels []string // of an enum
	Array  bool     // followed by [] (any number of times) or ARRAY
}

// Option is one NAME = value of an option list. Name is in lower case. Value is a literal or a Param;
// a bare word is a *StringLiteral in lower case.
type Option struct {
	Pos
	Name  string
	Value Expr
}

// OrderItem is one item of an ORDER BY list.
type OrderItem struct {
	Pos
	Expr       Expr
	Descending bool
	Nulls      NullsOrder
}

// NullsOrder says where an ORDER BY item puts NULL.
type NullsOrder uint8

// The null orders.
const (
	NullsDefault NullsOrder = iota // last when ascending, first when descending
	NullsFirst
	NullsLast
)
