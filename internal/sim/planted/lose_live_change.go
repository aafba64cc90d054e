//go:build mutant_lose_live_change

package planted

// Tag names the planted bug: live queries are not told of a change.
const Tag = "lose_live_change"
