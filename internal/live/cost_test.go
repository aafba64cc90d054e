package live

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// benchStream is a stream with subscriptions to one shared table, each to another value of a column.
func benchStream(b *testing.B, subscriptions int, sql func(i int) string) (*stream, func(room int) changefeed.Change) {
	b.Helper()
	l := newLab(b, changefeed.Config{})
	l.sql("admin", "CREATE NAMESPACE app")
	l.sql("admin", "CREATE TABLE app.t (id BIGINT PRIMARY KEY, room BIGINT, body TEXT) WITH (TYPE='SHARED', ACCESS_LEVEL='public')")
	sinks := make([]nowhere, 1000)
	for i := range subscriptions {
		sub, err := l.service.Subscribe(b.Context(), callerOf("alice"), &sinks[i%len(sinks)], Request{ID: "s", SQL: sql(i)})
		l.must(err)
		l.must(sub.Follow(b.Context(), noPace))
	}
	found, _ := l.catalog.Current().Table("app", "t")
	st := l.service.streams[found.Group]
	seq := uint64(1) << 40
	return st, func(room int) changefeed.Change {
		seq++
		row := encodeRow(found, int64(seq), int64(room))
		return changefeed.Change{Kind: changefeed.Insert, Table: found.ID, Seq: seq << 16, PrimaryKey: []byte{1}, New: row}
	}
}

type nowhere struct{ delivered int }

// Deliver implements Sink.
func (n *nowhere) Deliver(notifications []Notification) { n.delivered += len(notifications) }

// Ended implements Sink.
func (n *nowhere) Ended(*Subscription, *Error) {}

// BenchmarkMatch is one change that ten of many subscriptions see. It must not grow with their number.
func BenchmarkMatch(b *testing.B) {
	for _, subscriptions := range []int{1_000, 10_000, 100_000} {
		b.Run(strconv.Itoa(subscriptions), func(b *testing.B) {
			rooms := subscriptions / 10
			st, change := benchStream(b, subscriptions, func(i int) string {
				return fmt.Sprintf("SELECT * FROM app.t WHERE room = %d", i%rooms)
			})
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				st.process([]changefeed.Change{change(i * 7919 % rooms)})
			}
		})
	}
}

// BenchmarkFind is the finding alone: which ten of many subscriptions a row concerns, without reading and encoding it. Values are
// drawn at random, so that nothing near follows from the one before.
func BenchmarkFind(b *testing.B) {
	for _, subscriptions := range []int{1_000, 10_000, 100_000} {
		b.Run(strconv.Itoa(subscriptions), func(b *testing.B) {
			rooms := subscriptions / 10
			st, change := benchStream(b, subscriptions, func(i int) string {
				return fmt.Sprintf("SELECT * FROM app.t WHERE room = %d", i%rooms)
			})
			index := st.scopes[scopeKey{table: change(0).Table}]
			// The row at hand has just been read: it is near, whatever it concerns is not.
			made := change(0)
			var before, after []datum.Datum
			found, err := decodeRows(index, &made, &before, &after)
			if err != nil {
				b.Fatal(err)
			}
			hits := 0
			var key []byte
			b.ReportAllocs()
			for draw := uint64(1); b.Loop(); draw = draw*6364136223846793005 + 1442695040888963407 {
				found.after[1] = intDatum(int64(draw >> 33 * uint64(rooms) >> 31))
				index.find(found, &key, func(_ *bucket, entries []*Subscription, _ visit) {
					for _, sub := range entries {
						if sub != nil {
							hits++
						}
					}
				})
			}
			if hits != 10*b.N {
				b.Errorf("%d hits for %d changes", hits, b.N)
			}
		})
	}
}

// BenchmarkFanOut is one change that all of 1,000 or 10,000 subscriptions see; it is encoded once.
func BenchmarkFanOut(b *testing.B) {
	for _, subscriptions := range []int{1_000, 10_000} {
		b.Run(strconv.Itoa(subscriptions), func(b *testing.B) {
			st, change := benchStream(b, subscriptions, func(int) string { return "SELECT * FROM app.t" })
			b.ReportAllocs()
			for b.Loop() {
				st.process([]changefeed.Change{change(1)})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(subscriptions), "ns/receiver")
		})
	}
}

func intDatum(v int64) datum.Datum { return datum.NewBigInt(v) }

// TestEncodedOnce: one change to 10,000 subscriptions is one event, shared by all of them.
func TestEncodedOnce(t *testing.T) {
	l := newLab(t, changefeed.Config{})
	l.sql("admin", "CREATE NAMESPACE app")
	l.sql("admin", "CREATE TABLE app.t (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE='SHARED', ACCESS_LEVEL='public')")
	const subscriptions = 10_000
	sink := &counting{events: make(map[*Event]int)}
	for i := range subscriptions {
		sub, err := l.service.Subscribe(t.Context(), callerOf("alice"), sink, Request{ID: strconv.Itoa(i), SQL: "SELECT body FROM app.t"})
		l.must(err)
		l.must(sub.Follow(t.Context(), noPace))
	}
	l.sql("bot", "INSERT INTO app.t VALUES (1, 'one')")
	l.settle()
	for event, receivers := range sink.events {
		if receivers != subscriptions || len(sink.events) != 1 {
			t.Errorf("%d events; %s went to %d receivers", len(sink.events), event.JSON, receivers)
		}
	}
	if len(sink.events) == 0 {
		t.Error("nothing was delivered")
	}
}

// TestSubscriptionIsSmall: what a subscription takes of the heap, its share of the index included, by what it asks for.
func TestSubscriptionIsSmall(t *testing.T) {
	for name, c := range map[string]struct {
		sql  func(i int) string
		most int64
	}{
		"all rows":         {func(int) string { return "SELECT * FROM app.t" }, 800},
		"a value":          {func(i int) string { return fmt.Sprintf("SELECT * FROM app.t WHERE room = %d", i/10) }, 1200},
		"a value of many":  {func(i int) string { return fmt.Sprintf("SELECT id, body FROM app.t WHERE room = %d", i) }, 1200},
		"value and a test": {func(i int) string { return fmt.Sprintf("SELECT * FROM app.t WHERE room = %d AND id > 5", i/10) }, 1200},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, changefeed.Config{})
			l.sql("admin", "CREATE NAMESPACE app")
			l.sql("admin", "CREATE TABLE app.t (id BIGINT PRIMARY KEY, room BIGINT, body TEXT) WITH (TYPE='SHARED', ACCESS_LEVEL='public')")
			const subscriptions = 10_000
			sinks := make([]nowhere, subscriptions/100)
			before := heapBytes()
			for i := range subscriptions {
				id := strconv.Itoa(i)
				sub, err := l.service.Subscribe(t.Context(), callerOf("alice"), &sinks[i/100], Request{
					ID: id, SQL: c.sql(i), Tag: []byte(`{"type":"change","subscription_id":"` + id + `",`),
				})
				l.must(err)
				l.must(sub.Follow(t.Context(), noPace))
			}
			each := (heapBytes() - before) / subscriptions
			t.Logf("%d bytes each", each)
			if each > c.most {
				t.Errorf("a subscription takes %d bytes of heap, want at most %d", each, c.most)
			}
		})
	}
}

// heapBytes is what is reachable.
func heapBytes() int64 {
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return int64(memory.HeapAlloc)
}

type counting struct{ events map[*Event]int }

// Deliver implements Sink. Only the goroutine of one stream calls it.
func (c *counting) Deliver(notifications []Notification) {
	for _, n := range notifications {
		c.events[n.Event]++
	}
}

// Ended implements Sink.
func (c *counting) Ended(*Subscription, *Error) {}
