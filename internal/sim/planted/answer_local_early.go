//go:build mutant_answer_local_early

package planted

// Tag names the planted bug: a write of own rows is answered before it is in the log.
const Tag = "answer_local_early"
