package parse

// NullLiteral is NULL.
type NullLiteral struct{ Pos }

// BoolLiteral is TRUE or FALSE.
type BoolLiteral struct {
	Pos
	Value bool
}

// IntegerLiteral is a whole number that fits 64 bits. A minus sign directly before a number belongs to the
// literal.
type IntegerLiteral struct {
	Pos
	Value int64
}

// DecimalLiteral is any other number: with a point, an exponent, or beyond 64 bits. Text is the number as
// written without underscores, with a leading '-' when negative; it is never hexadecimal.
type DecimalLiteral struct {
	Pos
	Text string
}

// StringLiteral is a string constant of any notation, with escapes resolved.
type StringLiteral struct {
	Pos
	Value string
}

// BytesLiteral is X'..', with the hexadecimal digits decoded.
type BytesLiteral struct {
	Pos
	Value string // the bytes
}

// TypedLiteral is a type name followed by a string: DATE '2024-01-01'. It means a cast of the string.
type TypedLiteral struct {
	Pos
	Type  TypeName
	Value string
}

// IntervalLiteral is INTERVAL 'text' [fields]. Fields is "", a unit such as "day", or a range such as
// "day to second", in lower case.
type IntervalLiteral struct {
	Pos
	Value     string
	Fields    string
	Precision int // digits of the second, -1 when not given
}

// Param is $n.
type Param struct {
	Pos
	Index int // 1-based
}

// DefaultValue is the word DEFAULT in the place of a value in INSERT and UPDATE.
type DefaultValue struct{ Pos }

// ColumnRef is a possibly qualified column name. Parts that were not written are empty.
type ColumnRef struct {
	Pos
	Catalog   string
	Namespace string
	Table     string
	Name      string
}

// Star is * or t.* in a select list, in RETURNING, or as the only argument of a call (see FuncCall.Star).
type Star struct {
	Pos
	Catalog   string
	Namespace string
	Table     string // empty for a bare *
}

// Operator is the spelling of an operator: a symbol, or LIKE and its kin within a Quantified. "!=" is read as "<>".
type Operator string

// Unary is a prefix operator: "-" or "~". A unary plus leaves no node.
type Unary struct {
	Pos
	Op   Operator
	Expr Expr
}

// Not is NOT x.
type Not struct {
	Pos
	Expr Expr
}

// Binary is an infix operator between two values: arithmetic, comparison, "||", bits, regular
// expressions ("~", "~*", "!~", "!~*"), JSON ("->", "->>", "#>", "#>>", "#-", "@>", "<@", "?", "?|",
// "?&", "@?", "@@"), overlap ("&&") and distances ("<->", "<=>", "<#>"). AND and OR are Logical.
// Pos is the operator's.
type Binary struct {
	Pos
	Op    Operator
	Left  Expr
	Right Expr
}

// Logical is a chain of AND or of OR with at least two operands, flattened from the left.
type Logical struct {
	Pos
	Or       bool
	Operands []Expr
}

// Quantified is x op ANY (..) or x op ALL (..); SOME is ANY. Exactly one of Query and Array is set. Op may
// also be LIKE, NOT LIKE, ILIKE, NOT ILIKE.
type Quantified struct {
	Pos
	Op    Operator
	All   bool
	Left  Expr
	Query *Query
	Array Expr
}

// In is x [NOT] IN (list) or x [NOT] IN (query). Exactly one of List and Query is set.
type In struct {
	Pos
	Not   bool
	Expr  Expr
	List  []Expr
	Query *Query
}

// Between is x [NOT] BETWEEN [SYMMETRIC] low AND high.
type Between struct {
	Pos
	Not       bool
	Symmetric bool
	Expr      Expr
	Low       Expr
	High      Expr
}

// LikeKind distinguishes the pattern languages.
type LikeKind uint8

// The pattern languages.
const (
	LikeExact   LikeKind = iota // LIKE
	LikeFold                    // ILIKE
	LikeSimilar                 // SIMILAR TO
)

// Like is x [NOT] LIKE pattern [ESCAPE e], and its kin.
type Like struct {
	Pos
	Kind    LikeKind
	Not     bool
	Expr    Expr
	Pattern Expr
	Escape  Expr // nil when not given: backslash
}

// IsKind is what IS tests for.
type IsKind uint8

// The tests of IS.
const (
	IsNull IsKind = iota
	IsTrue
	IsFalse
	IsUnknown
)

// Is is x IS [NOT] NULL, TRUE, FALSE or UNKNOWN.
type Is struct {
	Pos
	Kind IsKind
	Not  bool
	Expr Expr
}

// IsDistinct is x IS [NOT] DISTINCT FROM y.
type IsDistinct struct {
	Pos
	Not   bool
	Left  Expr
	Right Expr
}

// Exists is EXISTS (query).
type Exists struct {
	Pos
	Query *Query
}

// Subquery is a query in parentheses used as one value.
type Subquery struct {
	Pos
	Query *Query
}

// Array is ARRAY[..], or ARRAY(query) when Query is set. Elements may be nested Array nodes.
type Array struct {
	Pos
	Elements []Expr
	Query    *Query
}

// Row is ROW(..), or (a, b, ..) with at least two values.
type Row struct {
	Pos
	Elements []Expr
}

// Subscript is x[i], or x[low:high] when Slice is set; either bound of a slice may be nil.
type Subscript struct {
	Pos
	Expr  Expr
	Index Expr // the index, or the lower bound of a slice
	High  Expr
	Slice bool
}

// Field is (x).name: a field of a composite value.
type Field struct {
	Pos
	Expr Expr
	Name string
}

// When is one branch of a Case.
type When struct {
	Pos
	Condition Expr // compared with the operand when the Case has one
	Result    Expr
}

// Case is CASE [operand] WHEN .. THEN .. [ELSE ..] END.
type Case struct {
	Pos
	Operand Expr // nil for a searched CASE
	Whens   []When
	Else    Expr // nil means NULL
}

// Cast is CAST(x AS type) or x::type; Try marks TRY_CAST, which gives NULL where the cast fails.
type Cast struct {
	Pos
	Try  bool
	Expr Expr
	Type TypeName
}

// Collate is x COLLATE name.
type Collate struct {
	Pos
	Expr      Expr
	Collation ObjectName
}

// FuncCall is a call of a scalar, aggregate, window or table function.
type FuncCall struct {
	Pos
	Name        ObjectName
	Args        []Expr
	Star        bool // f(*)
	Distinct    bool
	OrderBy     []OrderItem // within the parentheses
	WithinGroup []OrderItem
	Filter      Expr
	Over        *Window // nil for a plain call
}

// Window is what follows OVER, or a definition of a WINDOW clause.
type Window struct {
	Pos
	Name        string // OVER name: nothing else is set
	Base        string // the window that (base ..) extends
	PartitionBy []Expr
	OrderBy     []OrderItem
	Frame       *Frame // nil for the default frame
}

// FrameMode is how a frame's offsets count.
type FrameMode uint8

// The frame modes.
const (
	FrameRows FrameMode = iota
	FrameRange
	FrameGroups
)

// FrameExclusion is what a frame leaves out.
type FrameExclusion uint8

// The frame exclusions.
const (
	ExcludeNothing FrameExclusion = iota
	ExcludeCurrentRow
	ExcludeGroup
	ExcludeTies
)

// Frame is the frame of a window. A frame given by its start alone ends at the current row.
type Frame struct {
	Pos
	Mode    FrameMode
	Start   FrameBound
	End     FrameBound
	Exclude FrameExclusion
}

// BoundKind is the kind of one end of a frame, in the order in which a start may precede an end.
type BoundKind uint8

// The frame bounds.
const (
	UnboundedPreceding BoundKind = iota
	OffsetPreceding
	CurrentRow
	OffsetFollowing
	UnboundedFollowing
)

// FrameBound is one end of a frame.
type FrameBound struct {
	Kind   BoundKind
	Offset Expr // for OffsetPreceding and OffsetFollowing
}

func (*NullLiteral) expression()     {}
func (*BoolLiteral) expression()     {}
func (*IntegerLiteral) expression()  {}
func (*DecimalLiteral) expression()  {}
func (*StringLiteral) expression()   {}
func (*BytesLiteral) expression()    {}
func (*TypedLiteral) expression()    {}
func (*IntervalLiteral) expression() {}
func (*Param) expression()           {}
func (*DefaultValue) expression()    {}
func (*ColumnRef) expression()       {}
func (*Star) expression()            {}
func (*Unary) expression()           {}
func (*Not) expression()             {}
func (*Binary) expression()          {}
func (*Logical) expression()         {}
func (*Quantified) expression()      {}
func (*In) expression()              {}
func (*Between) expression()         {}
func (*Like) expression()            {}
func (*Is) expression()              {}
func (*IsDistinct) expression()      {}
func (*Exists) expression()          {}
func (*Subquery) expression()        {}
func (*Array) expression()           {}
func (*Row) expression()             {}
func (*Subscript) expression()       {}
func (*Field) expression()           {}
func (*Case) expression()            {}
func (*Cast) expression()            {}
func (*Collate) expression()         {}
func (*FuncCall) expression()        {}
