//go:build !linux

package disk

// BypassCache lets writes and reads of an open file go past the page cache of the operating system, which is only
// done on Linux.
func BypassCache(File) bool { return false }

// UseCache undoes BypassCache.
func UseCache(File) bool { return true }

// IsUnaligned reports whether an error says that a file past the cache refuses the alignment of an access.
func IsUnaligned(error) bool { return false }
