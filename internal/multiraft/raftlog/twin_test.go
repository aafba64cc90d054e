package raftlog_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog/raftlogtest"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// smallConfig makes segments so small that a short test recycles many.
func smallConfig(fs disk.FS) raftlog.Config {
	return raftlog.Config{FS: fs, Dir: "log", SegmentBytes: 16 << 10, SpareSegments: 1, QuietSegments: 3, CacheBytes: 4 << 10}
}

func open(t *testing.T, cfg raftlog.Config) *raftlog.Log {
	t.Helper()
	l, err := raftlog.Open(cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return l
}

func closeLog(t *testing.T, l *raftlog.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// Any sequence of operations leaves the log equal to the obvious one, before and after a clean restart.
func TestLogEqualsModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		for _, background := range []bool{false, true} {
			t.Run(fmt.Sprintf("seed=%d/background=%t", seed, background), func(t *testing.T) {
				t.Parallel()
				cfg := smallConfig(vfs.NewMem())
				cfg.Background = background
				if seed%3 == 0 {
					cfg.CacheBytes = -1
				}
				l := open(t, cfg)
				w := raftlogtest.NewWorkload(seed, 5, 700)
				rng := rand.New(rand.NewPCG(seed, 1))
				for step := range 1500 {
					op := w.Next()
					if err := op.Run(l); err != nil {
						t.Fatalf("step %d, %v: %v", step, op, err)
					}
					op.Apply(w.Model)
					if err := w.Model.Exact(raftlogtest.Groups(l)); step%10 == 0 && err != nil {
						t.Fatalf("step %d, after %v: %v", step, op, err)
					}
					if rng.IntN(100) == 0 {
						closeLog(t, l)
						l = open(t, cfg)
						if err := w.Model.Exact(raftlogtest.Groups(l)); err != nil {
							t.Fatalf("step %d, opened after %v: %v", step, op, err)
						}
					}
				}
				const usable = 8 << 10 // of a segment, about
				bound := int64(cfg.QuietSegments) + 2 + 2*l.Stats().LiveBytes/usable
				if background {
					bound *= 2 // a goroutine that lags is helped only then
				}
				if s := l.Stats(); int64(s.Segments) > bound {
					t.Errorf("%d segments for %d live bytes", s.Segments, s.LiveBytes)
				}
				closeLog(t, l)
			})
		}
	}
}
