//go:build mutant_half_apply_transaction

package planted

// Tag names the planted bug: a transaction is half applied.
const Tag = "half_apply_transaction"
