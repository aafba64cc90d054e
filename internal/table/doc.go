// Package table reads the rows of tables.
//
// A provider is one kind of table: User and Shared read replicated rows from a storage snapshot, System
// computes the rows of a view. All give rows in the same form: the declared columns in order, then _seq
// and _deleted where the table has them. Replicated rows come in ascending order of the primary key.
//
// A Scope says which rows exist for a scan: a table and, for private rows, a user. It is part of the key
// bounds, so a scan cannot leave it whatever the statement says.
//
// Providers only read. Rows are written by the applier when a command is applied.
package table
