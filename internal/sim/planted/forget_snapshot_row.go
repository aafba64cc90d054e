//go:build mutant_forget_snapshot_row

package planted

// Tag names the planted bug: a snapshot lacks a row.
const Tag = "forget_snapshot_row"
