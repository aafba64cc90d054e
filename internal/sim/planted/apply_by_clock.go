//go:build mutant_apply_by_clock

package planted

// Tag names the planted bug: apply takes the time from the clock.
const Tag = "apply_by_clock"
