package server

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
)

// TestCursorsFromBeforeARestoreAreRefused gives rows the same places in the logs of two clusters, of which the second one was restored from the
// first. Every cursor of the first one is refused there, whatever it meets; those of the second are resumed, also those of rows that were restored.
func TestCursorsFromBeforeARestoreAreRefused(t *testing.T) {
	t.Parallel()
	old, root := oneNode(t, withShards(1, 1))
	root.sql("CREATE NAMESPACE app")
	const people = "CREATE %s TABLE app.%s (id BIGINT PRIMARY KEY, n BIGINT)"
	root.sql(fmt.Sprintf(people, "SHARED", "everybody"))
	root.sql(fmt.Sprintf(people, "USER", "own"))
	tables := []string{"app.everybody", "app.own"}
	seqs := func(c client, table string) (found []uint64) {
		t.Helper()
		for text := range strings.FieldsSeq(c.grid("SELECT _seq FROM " + table + " LIMIT 1000")) {
			seq, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, seq)
		}
		return found
	}
	before := map[string][]uint64{}
	for i := range 30 {
		for _, table := range tables {
			root.sql(fmt.Sprintf("INSERT INTO %s VALUES (%d, 0), (%d, 0)", table, 2*i, 2*i+1))
			before[table] = seqs(root, table)
		}
	}
	place := t.TempDir()
	completed(t, old, root, "BACKUP DATABASE TO '"+place+"'")

	fresh, there := oneNode(t, func(cfg *config.Config) {
		withShards(1, 1)(cfg)
		cfg.RateLimit.MaxMessagesPerSec = 0
	})
	completed(t, fresh, there, "RESTORE DATABASE FROM '"+place+"'")
	restored := map[string][]uint64{}
	for _, table := range tables {
		restored[table] = seqs(there, table)
		for i := range 40 { // one more than the old log is long
			there.sql(fmt.Sprintf("INSERT INTO %s VALUES (%d, 1), (%d, 1)", table, 1000+2*i, 1001+2*i))
		}
	}
	s := watch(t, fresh, there)
	resumes := func(table string, cursor uint64) bool {
		t.Helper()
		f := s.subscribe("s", "SELECT * FROM "+table, fmt.Sprintf(`{"from":%d}`, cursor))
		if f.Code != "" && f.Code != "CURSOR_TOO_OLD" {
			t.Fatalf("cursor %d of %s: %+v", cursor, table, f)
		}
		if f.Code == "" {
			for s.next().Control.Status != "ready" {
			}
			s.send(`{"type":"unsubscribe","subscription_id":"s"}`)
		}
		return f.Code == ""
	}
	for _, table := range tables {
		now := seqs(there, table)
		places := map[uint64]bool{}
		for _, seq := range now {
			places[seq>>16] = true
		}
		met := 0
		for _, seq := range before[table] {
			if places[seq>>16] {
				met++
			}
			if resumes(table, seq) {
				t.Errorf("%s: the cursor %d.%d of the old cluster is taken for one of the new", table, seq>>16, seq&0xffff)
			}
		}
		if met < 10 {
			t.Errorf("%s: only %d of %d old cursors meet a row of the new cluster", table, met, len(before[table]))
		}
		for _, seq := range append(restored[table], now...) {
			if !resumes(table, seq) {
				t.Errorf("%s: the cursor %d.%d of the new cluster is refused", table, seq>>16, seq&0xffff)
			}
		}
	}
}
