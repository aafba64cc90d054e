// Package planted knows which bug a build of the simulation has: the one that its build tag names.
//
//	go test -tags invariants,mutant_skip_fsync -run TestSeeds ./internal/sim
//
// plants the bug whose tag is skip_fsync into every simulated cluster, so the seeds must fail. Each planted bug of internal/sim has one
// file here, with its build tag and the constant Tag; a build without such a tag takes none.go, and one with two of them declares the
// constant twice and does not compile. The bugs themselves are in test files of internal/sim, so a tag can let none into the product.
//
// The files are written by
//
//	go test -tags invariants -run TestEveryMutantHasItsTag ./internal/sim -rewrite
package planted

// Prefix is what build tags of planted bugs begin with.
const Prefix = "mutant_"
