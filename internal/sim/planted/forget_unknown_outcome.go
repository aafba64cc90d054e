//go:build mutant_forget_unknown_outcome

package planted

// Tag names the planted bug: an unknown outcome counts as not delivered.
const Tag = "forget_unknown_outcome"
