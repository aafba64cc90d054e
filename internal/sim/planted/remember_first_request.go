//go:build mutant_remember_first_request

package planted

// Tag names the planted bug: only the first request of an entry is remembered.
const Tag = "remember_first_request"
