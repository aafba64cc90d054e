//go:build mutant_skip_directory_fsync

package planted

// Tag names the planted bug: the directory of the log is not synced.
const Tag = "skip_directory_fsync"
