//go:build mutant_skip_expectations

package planted

// Tag names the planted bug: expectations are not checked.
const Tag = "skip_expectations"
