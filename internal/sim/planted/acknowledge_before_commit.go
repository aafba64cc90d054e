//go:build mutant_acknowledge_before_commit

package planted

// Tag names the planted bug: a write is acknowledged before it is committed.
const Tag = "acknowledge_before_commit"
