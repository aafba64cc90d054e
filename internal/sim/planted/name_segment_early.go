//go:build mutant_name_segment_early

package planted

// Tag names the planted bug: a segment is named before a majority has it.
const Tag = "name_segment_early"
