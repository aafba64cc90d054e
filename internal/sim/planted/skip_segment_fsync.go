//go:build mutant_skip_segment_fsync

package planted

// Tag names the planted bug: a segment is not synced.
const Tag = "skip_segment_fsync"
