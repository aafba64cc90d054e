package exec_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// TestUnreadableBlocksNeverChangeAnAnswer lets one read after the other of every query fail, where hardly a block is cached: a
// query that does not say so must have the whole answer.
func TestUnreadableBlocksNeverChangeAnAnswer(t *testing.T) {
	t.Parallel()
	var armed, reads atomic.Int64 // the read that fails, and how many there were
	fs := faultfs.WrapReads(disk.Local(), func(op faultfs.Op) error {
		if op.Kind == faultfs.Read && strings.HasSuffix(op.Path, ".sst") && reads.Add(1) == armed.Load() {
			return syscall.EIO
		}
		return nil
	})
	store, err := storage.Open(storage.Options{FS: fs, Dir: t.TempDir(), CacheBytes: 1, MemTableBytes: 128 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // it has failed, and may say so again
	n := startNodeOn(t, store, nil)
	n.must(t, "CREATE TABLE app.t (id BIGINT PRIMARY KEY, g INT, body TEXT)")
	n.must(t, "CREATE INDEX t_g ON app.t (g)")
	for id := range 12 {
		var values []string
		for i := range 40 {
			number := id*40 + i
			values = append(values, fmt.Sprintf("(%d, %d, '%s')", number, number%7, strings.Repeat(strconv.Itoa(number*7919), 200)))
		}
		n.must(t, "INSERT INTO app.t (id, g, body) VALUES "+strings.Join(values, ", "))
	}
	if err := store.Flush(); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, query := range []string{
		"SELECT count(*), sum(length(body)) FROM app.t",
		"SELECT length(body) FROM app.t WHERE id = 333",
		"SELECT id, length(body) FROM app.t ORDER BY id DESC LIMIT 100",
		"SELECT g, count(*), max(length(body)) FROM app.t GROUP BY g ORDER BY g",
		"SELECT id, length(body) FROM app.t WHERE g = 3 ORDER BY id",
		"SELECT a.id, length(b.body) FROM app.t a JOIN app.t b ON b.id = a.id + 1 WHERE a.id > 300 AND a.id < 330 ORDER BY a.id",
		"SELECT count(*) FROM app.t WHERE id IN (SELECT id + 1 FROM app.t WHERE g = 2)",
	} {
		armed.Store(0)
		want := text(t, n.must(t, query))
		for at := int64(1); ; at += 1 + at/8 {
			reads.Store(0)
			armed.Store(at)
			answer, err := n.run(t, caller("admin", session.RoleDBA), query)
			met := reads.Load() >= at
			if err == nil && text(t, answer) != want {
				t.Errorf("%s, whose read %d fails, answers\n%swant\n%s", query, at, text(t, answer), want)
			}
			if !met {
				break
			}
			if err != nil {
				failed++
			}
		}
	}
	if failed < 20 {
		t.Errorf("only %d queries have met a failed read; the test shows nothing", failed)
	}
	t.Logf("%d queries have met a failed read", failed)
}
