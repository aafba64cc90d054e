package statemachine

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
)

// TestSpanOfTheGroupIsItsWholeState copies the keys of a group to a replica that was left behind with other
// content, as a snapshot does. From then on both must answer the same log, retries of old requests
// included, with the same bytes.
func TestSpanOfTheGroupIsItsWholeState(t *testing.T) {
	t.Parallel()
	for _, group := range groups {
		t.Run(fmt.Sprint(group), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(11, uint64(group)))
			log := randomLog(t, random, group, 800)
			whole, behind := newReplica(t, group), newReplica(t, group)
			cut := wholeEntries(log, 500)
			_, err := whole.apply(log[:cut])
			must(t, err)
			_, err = behind.apply(log[:wholeEntries(log, 30)])
			must(t, err)
			install(t, whole, behind)
			if got, want := behind.applied(t), log[cut-1].Index; got != want {
				t.Errorf("applied index %d after the installation, want %d", got, want)
			}
			want, err := whole.apply(log[cut:])
			must(t, err)
			got, err := behind.apply(log[cut:])
			must(t, err)
			compareRuns(t, "after an installation", whole.dump(t), behind.dump(t), want.Results, got.Results)
			compareDigests(t, whole, behind)
			checkPublished(t, behind)
		})
	}
}

// install replaces the keys of one replica by those of the other.
func install(t *testing.T, from, to *replica) {
	t.Helper()
	lo, hi := keys.GroupSpan(from.group)
	snapshot := from.engine.NewSnapshot()
	it, err := snapshot.Scan(lo, hi)
	must(t, err)
	w, err := to.engine.NewTableWriter("incoming")
	must(t, err)
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		must(t, err)
		must(t, w.Set(it.Key(), value))
	}
	must(t, it.Close())
	must(t, snapshot.Close())
	must(t, w.Close())
	must(t, to.engine.IngestReplace(lo, hi, []string{"incoming"}))
	must(t, to.machine.Restore(to.engine))
}

func compareDigests(t *testing.T, a, b *replica) {
	t.Helper()
	digest := func(r storage.Reader, group shard.GroupID) string {
		lo, hi := keys.GroupSpan(group)
		entries, sum, err := rowvalue.SpanDigest(r, lo, hi)
		must(t, err)
		return fmt.Sprintf("%d entries, %016x", entries, sum)
	}
	if x, y := digest(a.engine, a.group), digest(b.engine, b.group); x != y {
		t.Errorf("digests differ: %s and %s", x, y)
	}
}
