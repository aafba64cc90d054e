//go:build mutant_flush_unread_rows

package planted

// Tag names the planted bug: a flush removes rows that it has not read.
const Tag = "flush_unread_rows"
