//go:build mutant_answer_all_at_quorum

package planted

// Tag names the planted bug: mode all answers when a quorum has it.
const Tag = "answer_all_at_quorum"
