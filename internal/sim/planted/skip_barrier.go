//go:build mutant_skip_barrier

package planted

// Tag names the planted bug: reads do not wait.
const Tag = "skip_barrier"
