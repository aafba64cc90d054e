package raftlog_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog/raftlogtest"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// A disk that fails while the next segment is prepared ends the log, although no byte of the log was in that file: only a
// full disk gets better by itself.
func TestFailureToPrepareASegmentIsFinal(t *testing.T) {
	t.Parallel()
	for _, kind := range []faultfs.Kind{faultfs.Create, faultfs.Write, faultfs.Sync} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			failing := false
			l := open(t, smallConfig(faultfs.Wrap(vfs.NewMem(), func(op faultfs.Op) error {
				if failing && op.Kind == kind && strings.Contains(op.Path, ".tmp") {
					return syscall.EIO
				}
				return nil
			})))
			failing = true
			w := raftlogtest.NewWorkload(3, 3, 900)
			var err error
			for err == nil {
				op := w.Next()
				if err = op.Run(l); err == nil {
					op.Apply(w.Model)
				}
			}
			failing = false
			if errors.Is(err, raftlog.ErrNoSpare) {
				t.Errorf("append: %v, which says that there may be room later", err)
			}
			if again := w.Next().Run(l); !errors.Is(err, syscall.EIO) || !errors.Is(again, syscall.EIO) {
				t.Errorf("append: %v, and then: %v; want the error of the disk twice", err, again)
			}
			if err := l.Close(); !errors.Is(err, syscall.EIO) {
				t.Errorf("close: %v", err)
			}
		})
	}
}
