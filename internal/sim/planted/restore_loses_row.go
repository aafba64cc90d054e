//go:build mutant_restore_loses_row

package planted

// Tag names the planted bug: a restore leaves out a row.
const Tag = "restore_loses_row"
