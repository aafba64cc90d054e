package sim

import (
	"time"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// options shape a cluster; a seed draws them, a scenario names them.
type options struct {
	nodes        int
	shards       shard.Map
	retain       uint64 // entries kept for slow followers
	pairs        bool   // logs are kept in a store of pairs
	segmentBytes int64
	cacheBytes   int64
	workers      int // that step the groups of a node
	logWrites    int // that a worker may have under way
	packs        int // step from which on entries may hold several commands; negative for never
	chunkBytes   int // of a snapshot; zero for the usual
	noBalance    bool
	solo         bool  // one node, without a cluster
	sql          bool  // some clients speak SQL
	cold         bool  // their rows become cold
	coldCache    int64 // bytes of decoded columns that are kept; zero for the usual
	noJanitor    bool  // nobody but the story removes what dropped tables leave
	bucket       bool  // one of their tables has its segments in a bucket
	backups      bool  // nodes make backups now and then
	local        bool  // nodes have rows of their own, which are not replicated
	votes        bool  // nodes lose their votes in some groups, and are given them again
	hangStore    bool  // what is applied does not come back for a while
	verbose      bool
	looks        <-chan time.Time // when to look whether the run still moves; nil for now and then, in real time
	weighs       <-chan time.Time // when to look how much memory it takes; the same
	most         uint64           // bytes of memory that it may take; zero for mostBytes
	heapDir      string           // where a run that takes more leaves a profile; empty for the usual place
	burst        func(string)     // is told of such a run in place of the end of all tests; nil for that
}

func defaultOptions() options {
	return options{
		nodes: 3, shards: shard.Map{UserShards: 2, SharedShards: 1}, retain: 1000, segmentBytes: 256 << 10, cacheBytes: 1 << 20, workers: 1,
		logWrites: 1,
	}
}
