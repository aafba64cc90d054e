//go:build mutant_skip_segment_fetch

package planted

// Tag names the planted bug: segments that a node misses are not fetched.
const Tag = "skip_segment_fetch"
