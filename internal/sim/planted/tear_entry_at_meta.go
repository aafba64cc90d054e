//go:build mutant_tear_entry_at_meta

package planted

// Tag names the planted bug: an entry is applied up to what waits for meta.
const Tag = "tear_entry_at_meta"
