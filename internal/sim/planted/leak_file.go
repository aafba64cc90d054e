//go:build mutant_leak_file

package planted

// Tag names the planted bug: a file stays open.
const Tag = "leak_file"
