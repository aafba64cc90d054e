package storage

import "github.com/cockroachdb/pebble/v2/sstable"

// Metrics are figures of the store at one moment.
type Metrics struct {
	DiskBytes        uint64  // size of all files
	MemTableBytes    uint64  // memory of memtables that are not flushed yet
	CacheBytes       int64   // content of the block cache
	CacheHitRatio    float64 // since the start; 0 to 1
	Flushes          int64
	Compactions      int64
	CompactionDebt   uint64 // bytes that wait for compaction
	ReadAmp          int    // runs that a read may have to look into
	OpenIterators    int64  // must return to zero when nobody reads
	IngestedReplaces uint64
}

// Metrics reads the figures.
func (e *Engine) Metrics() Metrics {
	m := e.db.Metrics()
	result := Metrics{
		DiskBytes:        m.DiskSpaceUsage(),
		MemTableBytes:    m.MemTable.Size,
		CacheBytes:       m.BlockCache.Size,
		Flushes:          m.Flush.Count,
		Compactions:      m.Compact.Count,
		CompactionDebt:   m.Compact.EstimatedDebt,
		ReadAmp:          m.ReadAmp(),
		OpenIterators:    m.TableIters,
		IngestedReplaces: m.Ingest.Count,
	}
	if lookups := m.BlockCache.Hits + m.BlockCache.Misses; lookups > 0 {
		result.CacheHitRatio = float64(m.BlockCache.Hits) / float64(lookups)
	}
	return result
}

// DiskBytes estimates the size of the files that hold a span, cheaply: what is in memtables does not count.
func (e *Engine) DiskBytes(lo, hi []byte) (uint64, error) {
	bytes, err := e.db.EstimateDiskUsage(lo, hi)
	return bytes, wrap(err, "estimate the size of a span")
}

// writerOptions are those of a table file in the lowest level of this store.
func (e *Engine) writerOptions() sstable.WriterOptions {
	return e.tableOptions.MakeWriterOptions(len(e.tableOptions.Levels)-1, e.db.TableFormat())
}
