//go:build mutant_leak_transaction

package planted

// Tag names the planted bug: a transaction stays open.
const Tag = "leak_transaction"
