//go:build mutant_serve_stale_read

package planted

// Tag names the planted bug: a replica that believes to lead reads at once.
const Tag = "serve_stale_read"
