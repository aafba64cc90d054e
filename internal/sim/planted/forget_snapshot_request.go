//go:build mutant_forget_snapshot_request

package planted

// Tag names the planted bug: a snapshot lacks a remembered request.
const Tag = "forget_snapshot_request"
