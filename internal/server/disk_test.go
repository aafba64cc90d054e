package server

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// TestHungDiskEndsTheNode holds a sync of the log: after the limit the node says which call the disk has not answered.
func TestHungDiskEndsTheNode(t *testing.T) {
	t.Parallel()
	var hangs atomic.Bool
	release := make(chan struct{})
	cfg := testConfig(t.TempDir())
	cfg.Storage.HangLimitSecs = 1
	n := openNode(t, cfg, Options{fs: faultfs.Wrap(disk.Local(), func(op faultfs.Op) error {
		if op.Kind == faultfs.Sync && strings.Contains(op.Path, "/log/") && hangs.Load() {
			<-release
		}
		return nil
	})})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	hangs.Store(true)
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.post("/v1/api/sql", map[string]any{"sql": "CREATE NAMESPACE shop"}) // its end is not what is asked about
	}()
	err := n.Wait()
	if !errors.Is(err, ErrDiskHangs) || !strings.Contains(err.Error(), "/log/") || !strings.Contains(err.Error(), "hang_limit_secs = 1") {
		t.Errorf("the node ends with %v", err)
	}
	close(release)
	<-written
}
