//go:build mutant_share_local_numbers

package planted

// Tag names the planted bug: own rows of all nodes are numbered alike.
const Tag = "share_local_numbers"
