// Package txn keeps what open transactions have read and written.
//
// A Transaction belongs to one caller and to one group. It holds one snapshot of the store, taken when its
// first statement touched a table, the rows that its statements want to write, and what must still be true
// of everything it read. Nothing of it is in the log before it commits; then all of it is one command. Apply
// checks the expectations, so transactions that commit could have run one after the other.
//
// A Registry knows the open transactions of a node, names them, bounds their number, and ends those that
// take too long. Transactions live in memory and end with the node.
//
// The package runs no SQL: exec asks it what a row looks like inside a transaction and hands it the write
// sets of statements. Methods of a Transaction are called by whoever holds it, one goroutine at a time;
// Acquire and Release pass it on. Methods of a Registry may be called by anyone.
package txn
