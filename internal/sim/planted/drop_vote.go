//go:build mutant_drop_vote

package planted

// Tag names the planted bug: the vote is not saved.
const Tag = "drop_vote"
