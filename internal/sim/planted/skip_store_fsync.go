//go:build mutant_skip_store_fsync

package planted

// Tag names the planted bug: the store is not synced.
const Tag = "skip_store_fsync"
