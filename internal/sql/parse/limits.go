package parse

// The bounds of what is parsed. Exceeding one is a fault.LimitExceeded.
const (
	MaxTextBytes       = 1 << 20 // of one text, batch or not
	MaxDepth           = 200     // nested parentheses, queries, calls, CASE and prefix operators
	MaxChain           = 10_000  // operators, joins or set operations in one left-deep chain of one expression
	MaxListItems       = 100_000 // of one list: values, rows, columns, arguments
	MaxStatements      = 10_000  // of one batch
	MaxIdentifierBytes = 255     // of one name; the catalog allows less
	MaxParamIndex      = 65_535
)
