//go:build mutant_skip_fsync

package planted

// Tag names the planted bug: the log is not synced.
const Tag = "skip_fsync"
