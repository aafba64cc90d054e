//go:build mutant_retry_failed_fsync

package planted

// Tag names the planted bug: a failed sync is tried again.
const Tag = "retry_failed_fsync"
