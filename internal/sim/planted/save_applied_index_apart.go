//go:build mutant_save_applied_index_apart

package planted

// Tag names the planted bug: the applied index is saved apart from the rows.
const Tag = "save_applied_index_apart"
