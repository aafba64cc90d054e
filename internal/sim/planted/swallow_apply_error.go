//go:build mutant_swallow_apply_error

package planted

// Tag names the planted bug: an error of apply becomes a success.
const Tag = "swallow_apply_error"
