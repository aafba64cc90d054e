//go:build mutant_ignore_disk_errors

package planted

// Tag names the planted bug: errors of the disk are ignored.
const Tag = "ignore_disk_errors"
