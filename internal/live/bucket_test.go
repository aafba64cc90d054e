package live

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
)

// TestBucketTableIsAMap: a table finds what a map finds, whatever came and went, and its memory follows what is in it.
func TestBucketTableIsAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	var table bucketTable
	naive := make(map[string][]*Subscription)
	value := func() string {
		n := random.IntN(500)
		return strings.Repeat("k", n%20) + strconv.Itoa(n)
	}
	check := func() {
		t.Helper()
		seen := 0
		table.each(func(b *bucket) { seen++ })
		if seen != len(naive) || table.count != len(naive) {
			t.Fatalf("%d and %d buckets, want %d", seen, table.count, len(naive))
		}
		for value, want := range naive {
			s := table.find([]byte(value))
			if s == nil || len(s.entries) != len(want) || len(s.bucket.entries) != len(want) {
				t.Fatalf("%q has the slot %+v, want %d entries", value, s, len(want))
			}
			for i, sub := range s.entries {
				if !slices.Contains(want, sub) || sub != s.bucket.entries[i] {
					t.Fatalf("%q has %p, which is not in it", value, sub)
				}
			}
		}
	}
	leave := func(key string, at int) {
		sub := naive[key][at]
		sub.places[0].bucket.remove(sub.places[0].at)
		table.left(key)
		if naive[key] = slices.Delete(naive[key], at, at+1); len(naive[key]) == 0 {
			delete(naive, key)
		}
	}
	for step := range 20_000 {
		key := value()
		if step/2000%2 == 0 == (random.IntN(4) > 0) {
			sub := &Subscription{query: &query{exact: true}}
			table.add(key, sub)
			naive[key] = append(naive[key], sub)
		} else if n := len(naive[key]); n > 0 {
			leave(key, random.IntN(n))
		}
		if table.find([]byte("absent")) != nil {
			t.Fatal("a value that is not there is found")
		}
		if step%100 == 0 {
			check()
		}
	}
	check()
	for key := range naive {
		for len(naive[key]) > 0 {
			leave(key, 0)
		}
	}
	if len(table.slots) > smallestTable || len(table.tags) != len(table.slots) {
		t.Errorf("an empty table keeps %d slots and %d tags", len(table.slots), len(table.tags))
	}
}

// TestWhatWasGivenIsCounted: what is noted once for all in a bucket counts for each from when it came.
func TestWhatWasGivenIsCounted(t *testing.T) {
	l := newLab(t, changefeed.Config{})
	l.sql("admin", "CREATE NAMESPACE app")
	l.sql("admin", "CREATE TABLE app.t (id BIGINT PRIMARY KEY, room BIGINT) WITH (TYPE='SHARED', ACCESS_LEVEL='public')")
	subscribe := func(id, condition string) *Subscription {
		sub, err := l.service.Subscribe(t.Context(), callerOf("alice"), &tape{}, Request{ID: id, SQL: "SELECT * FROM app.t WHERE " + condition})
		l.must(err)
		l.must(sub.Follow(t.Context(), noPace))
		return sub
	}
	first := subscribe("first", "room = 1")
	l.sql("bot", "INSERT INTO app.t VALUES (1, 1)")
	l.settle()
	second, tested := subscribe("second", "room = 1"), subscribe("tested", "room = 1 AND id > 2")
	l.sql("bot", "INSERT INTO app.t VALUES (2, 1)")
	l.sql("bot", "INSERT INTO app.t VALUES (3, 1)")
	l.settle()
	tested.Close()
	l.sql("bot", "UPDATE app.t SET room = 2 WHERE id = 3")
	l.sql("bot", "DELETE FROM app.t WHERE id = 1")
	l.settle()
	// The table is another one now, and those who are left stand in places of its own.
	l.sql("admin", "ALTER TABLE app.t ADD COLUMN more TEXT")
	l.sql("bot", "INSERT INTO app.t VALUES (4, 1, 'x')")
	l.settle()
	for sub, want := range map[*Subscription]uint64{first: 6, second: 5} {
		if info := sub.info(); info.Changes != want || info.LastMicros == 0 {
			t.Errorf("%s was given %d changes, the last at %d; want %d", sub.ID, info.Changes, info.LastMicros, want)
		}
	}
}
