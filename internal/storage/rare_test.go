package storage

import (
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestRareVersion: only commits of rare keys change it, and nobody is told a version while one is under way.
func TestRareVersion(t *testing.T) {
	t.Parallel()
	e := openClosed(t, vfs.NewMem())
	first := e.RareVersion()
	commit(t, e, "a", "1")
	if first == 0 || e.RareVersion() != first {
		t.Errorf("version %d becomes %d by a commit without rare keys", first, e.RareVersion())
	}
	done := e.rare.change()
	s := e.NewSnapshot()
	if e.RareVersion() != 0 || s.RareVersion() != 0 {
		t.Errorf("versions %d and %d during a commit of rare keys", e.RareVersion(), s.RareVersion())
	}
	check(t, s.Close())
	done()
	if e.RareVersion() <= first {
		t.Errorf("version %d, and %d after a commit of rare keys", first, e.RareVersion())
	}
}

// TestRareVersionIsNeverAhead: who finds nothing under a rare key that is committed meanwhile never holds the version of
// after the commit.
func TestRareVersionIsNeverAhead(t *testing.T) {
	t.Parallel()
	e := openClosed(t, vfs.NewMem())
	key := []byte("rare")
	for range 200 {
		var reading sync.WaitGroup
		type finding struct {
			version uint64
			found   bool
		}
		var findings []finding
		begun := make(chan struct{})
		reading.Go(func() {
			for i := range 20 {
				version := e.RareVersion()
				_, found, err := e.Get(key)
				if version != 0 && version == e.RareVersion() {
					findings = append(findings, finding{version, found})
				}
				if err != nil {
					t.Error(err)
				}
				if i == 0 {
					close(begun)
				}
			}
		})
		<-begun
		b := e.NewBatch()
		check(t, b.SetRare(key, nil))
		check(t, e.Commit(b))
		after := e.RareVersion()
		reading.Wait()
		for _, f := range findings {
			if f.found != (f.version == after) {
				t.Fatalf("at version %d, found is %v; the commit ended with version %d", f.version, f.found, after)
			}
		}
		b.Reset()
		check(t, b.Delete(key))
		check(t, e.Commit(b))
		check(t, b.Close())
	}
}
