// Package plan turns a syntax tree into a bound plan and says who may run it.
//
// A plan is a passive tree of nodes: every name is resolved against one version of the catalog, every
// expression is typed, every clause that means nothing has been refused. What is left for the executor is
// to move rows. Nodes know their output columns and print themselves, which is what the scripts under
// testdata compare.
//
// Always true: a plan does not say whose private rows it is of. Whoever carries it out bounds them by the user
// id of his session, so no expression can name another user's rows, and one plan serves all callers of a
// role. What is made from the caller's name all the same, as an order of joins by the sizes of his rows, asks
// the viewpoint for it, which notes that. A table that the caller may not see and a table that does not exist
// give the same error.
//
// The package reads the catalog and nothing else; it never touches rows, clocks or the log.
package plan
