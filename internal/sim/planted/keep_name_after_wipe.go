//go:build mutant_keep_name_after_wipe

package planted

// Tag names the planted bug: a wiped node keeps its old name.
const Tag = "keep_name_after_wipe"
