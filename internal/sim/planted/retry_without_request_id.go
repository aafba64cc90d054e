//go:build mutant_retry_without_request_id

package planted

// Tag names the planted bug: a retry has a new request id.
const Tag = "retry_without_request_id"
