// Package invariant stops the program when it finds itself to be wrong.
//
// Two kinds of failure exist. The world fails (a disk, a peer, a caller), and that is an error which is
// returned and handled. The program is wrong (a state that its own code must have made impossible), and
// then nothing it says can be trusted any more: it stops before it writes. This package is for the second
// kind only; input of any sort is never checked with it.
//
// Check is always on and must be cheap. Costly checks are written as
//
//	if invariant.Enabled { ... }
//
// and are compiled in with the build tag `invariants`, which all tests of the continuous build use. Without
// the tag the compiler removes them.
package invariant

import "fmt"

// ViolationError is the value of the panic that Check raises.
type ViolationError struct{ Message string }

// Error implements error, so that a recovered violation can be logged like any failure.
func (v ViolationError) Error() string { return "invariant violated: " + v.Message }

// Check panics with a ViolationError that carries the formatted message unless the condition holds.
func Check(holds bool, format string, args ...any) {
	if !holds {
		panic(ViolationError{Message: fmt.Sprintf(format, args...)})
	}
}
