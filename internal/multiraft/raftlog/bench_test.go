package raftlog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog/raftlogtest"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// cpuMicros is the processor time of this process so far.
func cpuMicros(b *testing.B) float64 {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return float64(usage.Utime.Sec+usage.Stime.Sec)*1e6 + float64(usage.Utime.Usec+usage.Stime.Usec)
}

// BenchmarkAppend writes entries of 128 bytes, spread over 34 groups, with one sync per call on a real disk. The
// directory is removed again; KALAMDB_BENCH_DIR puts it on a disk other than that of temporary files.
func BenchmarkAppend(b *testing.B) {
	for _, count := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("entries=%d", count), func(b *testing.B) {
			dir := b.TempDir()
			if base := os.Getenv("KALAMDB_BENCH_DIR"); base != "" {
				dir = filepath.Join(base, "raftlog-bench")
				defer func() { _ = os.RemoveAll(dir) }()
			}
			l, err := raftlog.Open(raftlog.Config{FS: disk.Local(), Dir: filepath.Join(dir, "log"), Background: true})
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
			}()
			data := make([]byte, 128)
			next := map[shard.GroupID]uint64{}
			updates := make([]raftlog.Update, 0, count)
			turn := 0
			before := cpuMicros(b)
			b.ResetTimer()
			for range b.N {
				updates = updates[:0]
				for i := range min(count, 34) {
					group := shard.GroupID(100 + turn%34)
					turn++
					u := raftlog.Update{Group: group}
					for range (count + 33 - i) / 34 {
						next[group]++
						u.Entries = append(u.Entries, raftlogtest.Entry(next[group], 1, data))
					}
					updates = append(updates, u)
					if next[group]%5000 == 0 {
						if err := l.Truncate(group, next[group]-4000); err != nil {
							b.Fatal(err)
						}
					}
				}
				if err := l.Append(updates, true); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric((cpuMicros(b)-before)/float64(b.N), "cpu-us/op")
			b.ReportMetric(float64(b.N*count)/b.Elapsed().Seconds(), "entries/s")
			s := l.Stats()
			b.ReportMetric(float64(s.RewrittenBytes)/float64(s.AppendedBytes), "rewritten")
		})
	}
}

// BenchmarkEntries reads runs of 64 entries that are not cached.
func BenchmarkEntries(b *testing.B) {
	l, err := raftlog.Open(raftlog.Config{FS: disk.Local(), Dir: filepath.Join(b.TempDir(), "log"), CacheBytes: -1, SegmentBytes: 4 << 20})
	if err != nil {
		b.Fatal(err)
	}
	var all []*raftpb.Entry
	for index := uint64(1); index <= 6400; index++ {
		all = append(all, raftlogtest.Entry(index, 1, make([]byte, 128)))
	}
	if err := l.Append([]raftlog.Update{{Group: 1, Entries: all}}, true); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := range b.N {
		first := uint64(i%100)*64 + 1
		if _, err := l.Group(1).Entries(first, first+64, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}
