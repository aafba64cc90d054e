//go:build mutant_skip_live_barrier

package planted

// Tag names the planted bug: a live query begins without a barrier.
const Tag = "skip_live_barrier"
