//go:build mutant_wrong_shard

package planted

// Tag names the planted bug: a user's rows are in another user's shard.
const Tag = "wrong_shard"
