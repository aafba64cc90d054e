package parse

// The bounds of what is parsed. Exceeding one is a fault.LimitExceeded.
const (
	MaxTextBytes       = 1 << 20 // of one text, batch or not
	MaxDepth           = 200     // nested parentheses, queries, calls, CASE and prefix operators
	MaxChain           = 10_000  // operators in the left-deep chains of one expression; AND and OR make none
	MaxBranches        = 1_000   // joins of one FROM item, set operations of one query
	MaxListItems       = 100_000 // of one list: values, rows, columns, arguments
	MaxStatements      = 10_000  // of one batch
	MaxIdentifierBytes = 255     // of one name; the catalog allows less
	MaxParamIndex      = 65_535
	MaxFields          = 16 // names behind one value in parentheses
)
