//go:build mutant_forget_requests

package planted

// Tag names the planted bug: requests are not remembered.
const Tag = "forget_requests"
