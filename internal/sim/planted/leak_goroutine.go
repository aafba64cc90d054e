//go:build mutant_leak_goroutine

package planted

// Tag names the planted bug: a goroutine does not end.
const Tag = "leak_goroutine"
