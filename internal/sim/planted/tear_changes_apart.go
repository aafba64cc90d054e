//go:build mutant_tear_changes_apart

package planted

// Tag names the planted bug: the changes of a command are told one by one.
const Tag = "tear_changes_apart"
