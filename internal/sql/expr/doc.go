// Package expr holds typed scalar expressions, shared by queries, DML, column defaults and live filters.
//
// Bind turns a syntax tree of package parse into an Expr: it resolves names in a Scope, checks types,
// inserts the conversions that PostgreSQL would make and folds what is constant. Eval computes an Expr
// over one row. What varies between two evaluations (time, caller, parameters, generated ids) comes from
// an Env; nothing else does, so the same expression over the same row and Env gives the same value.
//
// Text literals, NULL and parameters have no type of their own: they take the type of what they meet, as
// in PostgreSQL. Integer literals are BigInt, literals with a fraction are exact Decimals. Comparisons of
// numbers are exact across kinds. Conditions are three-valued: NULL means unknown.
//
// Aggregates are declared while binding (Options.Grouping), computed by an Aggregate, and read back from
// the grouped row by the bound expression. Conjuncts and KeyConstraint find what a condition says about
// one column, for key bounds.
//
// An Expr never changes after Bind and may be evaluated by many goroutines, each with its own
// EvalContext. Errors are *fault.Error: those of Bind carry line and column; Eval gives OutOfRange,
// InvalidStatement, InvalidParameter or LimitExceeded. No value that an expression builds exceeds
// MaxValueBytes.
package expr
