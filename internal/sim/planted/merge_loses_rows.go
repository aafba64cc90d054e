//go:build mutant_merge_loses_rows

package planted

// Tag names the planted bug: a merge drops live versions.
const Tag = "merge_loses_rows"
