//go:build mutant_forget_snapshot_change

package planted

// Tag names the planted bug: a snapshot lacks a change.
const Tag = "forget_snapshot_change"
