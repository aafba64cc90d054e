// Package exec runs SQL.
//
// An Engine takes a request, parses it, checks that the caller may run every statement of it, and runs
// them one after the other. A query reads one consistent storage snapshot, taken after a barrier, so it
// sees everything acknowledged before it began. A change is computed over such a snapshot into one
// write set, with the expectations under which it is right, and handed to the command executor; when
// somebody else was faster the statement is run again.
//
// Operators pull rows from their input one at a time and own what they buffer; a budget per query bounds
// the memory of sorts, groups and results, and a cancelled context stops a scan.
//
// The package never writes: only the command executor does. It never decides who sees what: plan does.
package exec
