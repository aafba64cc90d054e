//go:build mutant_leak_iterator

package planted

// Tag names the planted bug: an iterator stays open.
const Tag = "leak_iterator"
