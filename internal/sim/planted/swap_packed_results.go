//go:build mutant_swap_packed_results

package planted

// Tag names the planted bug: proposals of one entry get each other's results.
const Tag = "swap_packed_results"
