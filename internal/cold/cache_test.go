package cold

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestCacheKeepsItsLimit compares the cache with a list of what was used last: it holds the newest that fit, and never more than its limit.
func TestCacheKeepsItsLimit(t *testing.T) {
	t.Parallel()
	const limit = 100
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	c := newCache[int, int](limit)
	var keys []int // the one that was used last comes last
	sizes := map[int]int64{}
	held := func() (sum int64) {
		for _, key := range keys {
			sum += sizes[key]
		}
		return sum
	}
	for i := range 3000 {
		key := random.IntN(40)
		at := slices.Index(keys, key)
		if random.IntN(2) == 0 {
			if value, found := c.get(key); found != (at >= 0) || found && value != key {
				t.Fatalf("seed %d, step %d: get %d: %d, %v, want %v", seed, i, key, value, found, at >= 0)
			}
			if at >= 0 {
				keys = append(slices.Delete(keys, at, at+1), key)
			}
		} else {
			size := random.Int64N(limit / 2)
			if random.IntN(20) == 0 {
				size = limit + 1 // has no room, and drives nothing out
			}
			c.put(key, key, size)
			if at < 0 && size <= limit {
				keys, sizes[key] = append(keys, key), size
				for held() > limit {
					keys = keys[1:]
				}
			}
		}
		if used := c.usedBytes(); used > limit || used != held() || len(c.entries) != len(keys) {
			t.Fatalf("seed %d, step %d: %d bytes in %d entries, want %d in %d", seed, i, used, len(c.entries), held(), len(keys))
		}
	}
	if c.clear(); c.usedBytes() != 0 || len(c.entries) != 0 {
		t.Errorf("cleared, it has %d bytes", c.usedBytes())
	}
}
