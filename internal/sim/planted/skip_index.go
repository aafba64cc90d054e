//go:build mutant_skip_index

package planted

// Tag names the planted bug: an index is not maintained.
const Tag = "skip_index"
