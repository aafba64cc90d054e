//go:build mutant_tell_other_user

package planted

// Tag names the planted bug: a user is told of another's rows.
const Tag = "tell_other_user"
