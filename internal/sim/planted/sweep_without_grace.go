//go:build mutant_sweep_without_grace

package planted

// Tag names the planted bug: files that nobody names have no grace.
const Tag = "sweep_without_grace"
