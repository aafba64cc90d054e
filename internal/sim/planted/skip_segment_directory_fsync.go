//go:build mutant_skip_segment_directory_fsync

package planted

// Tag names the planted bug: the directory of a segment is not synced.
const Tag = "skip_segment_directory_fsync"
