//go:build mutant_drop_term

package planted

// Tag names the planted bug: the term is not saved.
const Tag = "drop_term"
