//go:build mutant_skip_meta_wait

package planted

// Tag names the planted bug: data does not wait for meta.
const Tag = "skip_meta_wait"
