//go:build mutant_ignore_fencing_token

package planted

// Tag names the planted bug: a claim that was lost ends the job.
const Tag = "ignore_fencing_token"
