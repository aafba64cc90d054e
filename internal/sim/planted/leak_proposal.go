//go:build mutant_leak_proposal

package planted

// Tag names the planted bug: a proposal without an answer is never given up.
const Tag = "leak_proposal"
