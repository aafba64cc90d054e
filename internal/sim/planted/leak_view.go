//go:build mutant_leak_view

package planted

// Tag names the planted bug: a view of the store stays open.
const Tag = "leak_view"
