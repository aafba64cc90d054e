//go:build mutant_leave_dropped_rows

package planted

// Tag names the planted bug: a cleanup leaves the rows of a dropped table.
const Tag = "leave_dropped_rows"
