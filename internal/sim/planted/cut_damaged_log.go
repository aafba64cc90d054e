//go:build mutant_cut_damaged_log

package planted

// Tag names the planted bug: a damaged log is cut and used on.
const Tag = "cut_damaged_log"
