package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// shelfLab has a table of many rows, one of rows with long keys and one of large rows.
func shelfLab(t *testing.T, wall clock.Clock) *lab {
	t.Helper()
	l := newLabAt(t, changefeed.Config{}, wall)
	l.sql("admin", `CREATE NAMESPACE app;
		CREATE TABLE app.many (id BIGINT PRIMARY KEY) WITH (TYPE='USER');
		CREATE TABLE app.long (id TEXT PRIMARY KEY) WITH (TYPE='USER');
		CREATE TABLE app.large (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE='USER')`)
	l.sql("alice", "INSERT INTO app.many SELECT n FROM generate_series(1, 2000) AS g(n)")
	l.sql("alice", "INSERT INTO app.long SELECT LPAD(CAST(n AS TEXT), 1000, 'x') FROM generate_series(1, 500) AS g(n)")
	for i := range 4 {
		l.sql("alice", fmt.Sprintf("INSERT INTO app.large VALUES (%d, REPEAT('x', 600000))", i))
	}
	return l
}

func (l *lab) beginFetch(sql string, initial *Initial) *Subscription {
	l.tb.Helper()
	sub, err := l.service.Subscribe(l.tb.Context(), callerOf("alice"), &tape{}, Request{ID: "a", SQL: sql, Initial: initial})
	l.must(err)
	return sub
}

// fetch gets batches, at most so many, and returns the ids of their rows.
func fetch(t *testing.T, sub *Subscription, most int) (ids []string, more bool, err error) {
	t.Helper()
	for more = true; more && most > 0; most-- {
		batch, err := sub.NextBatch(t.Context())
		if err != nil {
			return ids, false, err
		}
		var rows []struct {
			ID string `json:"id"`
		}
		if err = json.Unmarshal(batch.Rows, &rows); err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			ids = append(ids, row.ID)
		}
		more = batch.HasMore
	}
	return ids, more, nil
}

// shelved says how many bytes and subscriptions are remembered.
func (l *lab) shelved() (bytes, places int) {
	l.service.shelf.mu.Lock()
	defer l.service.shelf.mu.Unlock()
	return l.service.shelf.bytes, len(l.service.shelf.places)
}

// fill leaves no room for a user, or takes that back.
func (l *lab) fill(bytes int) {
	l.service.shelf.mu.Lock()
	defer l.service.shelf.mu.Unlock()
	l.service.shelf.bytes += bytes
	l.service.shelf.users["alice"] += bytes
}

func numbers(from, to int) (list []string) {
	for i := from; i <= to; i++ {
		list = append(list, strconv.Itoa(i))
	}
	return list
}

// TestFullShelf: when a node, or a user, has no room to remember found rows, each batch is found anew, and every row comes once; where not even the
// fewest fit, the client is told.
func TestFullShelf(t *testing.T) {
	t.Parallel()
	l := shelfLab(t, clock.Real{})
	for what, full := range map[string]int{"the user's room": maxShelfUserBytes, "half of it": maxShelfUserBytes - shelfStep - shelfFree, "none": 0} {
		l.fill(full)
		sub := l.beginFetch("SELECT id FROM app.many", &Initial{BatchSize: 150})
		ids, _, err := fetch(t, sub, 1)
		if bytes, _ := l.shelved(); err != nil || bytes > maxShelfUserBytes || (bytes > full) != (full < maxShelfUserBytes) {
			t.Errorf("%s: %d bytes are remembered beside %d, %v", what, bytes-full, full, err)
		}
		rest, more, err := fetch(t, sub, 1000)
		if ids = append(ids, rest...); err != nil || more || !slices.Equal(ids, numbers(1, 2000)) {
			t.Errorf("%s: %d rows of 2000 in order, %v", what, len(ids), err)
		}
		sub.Close()
		l.fill(-full)
		if bytes, places := l.shelved(); bytes != 0 || places != 0 {
			t.Errorf("%s: %d bytes and %d places are left", what, bytes, places)
		}
	}
	l.fill(maxShelfUserBytes)
	for last := range 40 { // one of them is the row for which there is no room
		last += shelfFree/(foundOverhead+9) - 20
		sub := l.beginFetch(fmt.Sprintf("SELECT id FROM app.many WHERE id <= %d", last), &Initial{})
		if ids, more, err := fetch(t, sub, 1000); err != nil || more || !slices.Equal(ids, numbers(1, last)) {
			t.Errorf("%d rows of %d, %v", len(ids), last, err)
		}
		sub.Close()
	}
	for _, initial := range []*Initial{{}, {LastRows: new(100)}} {
		sub := l.beginFetch("SELECT id FROM app.long", initial)
		_, _, err := fetch(t, sub, 1)
		if known, ok := errors.AsType[*Error](err); !ok || known.Code != CodeBatchFetch || known.Final || !strings.Contains(known.Message, "try again") {
			t.Errorf("no room at all: %v", err)
		}
		sub.Close()
	}
	l.fill(-maxShelfUserBytes)
	sub := l.beginFetch("SELECT id FROM app.long", &Initial{})
	defer sub.Close()
	if ids, more, err := fetch(t, sub, 1); len(ids) != 500 || more || err != nil {
		t.Errorf("%d rows with room, %v", len(ids), err)
	}
	if bytes, places := l.shelved(); bytes != 0 || places != 0 {
		t.Errorf("%d bytes and %d places are left", bytes, places)
	}
}

// TestForgottenRowsAreFoundAgain: rows that nobody fetches are forgotten in time, and come all the same when they are asked for, but for those that were
// changed meanwhile.
func TestForgottenRowsAreFoundAgain(t *testing.T) {
	t.Parallel()
	wall := clock.NewManual(time.Unix(1_700_000_000, 0))
	l := shelfLab(t, wall)
	many, large := l.beginFetch("SELECT id FROM app.many", &Initial{BatchSize: 500}), l.beginFetch("SELECT id, body FROM app.large", &Initial{LastRows: new(3)})
	defer many.Close()
	defer large.Close()
	if ids, more, err := fetch(t, many, 1); err != nil || !more || !slices.Equal(ids, numbers(1, 500)) {
		t.Fatalf("%d rows, %v", len(ids), err)
	}
	if ids, more, err := fetch(t, large, 1); err != nil || !more || !slices.Equal(ids, numbers(1, 2)) {
		t.Fatalf("%v of the large rows, %v", ids, err)
	}
	if bytes, places := l.shelved(); bytes == 0 || places != 2 {
		t.Fatalf("%d bytes are remembered for %d", bytes, places)
	}
	l.sql("alice", "DELETE FROM app.many WHERE id = 2000")
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		wall.Advance(shelfPatience)
		if bytes, _ := l.shelved(); bytes == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is forgotten")
		}
	}
	if ids, more, err := fetch(t, many, 1000); err != nil || more || !slices.Equal(ids, numbers(501, 1999)) {
		t.Errorf("%d further rows, %v", len(ids), err)
	}
	if ids, more, err := fetch(t, large, 1000); err != nil || more || !slices.Equal(ids, numbers(3, 3)) {
		t.Errorf("%v of the large rows, %v", ids, err)
	}
}

// TestShelfOfTheEnded: what is remembered for a live query goes with it, however it ends, also while a batch is made.
func TestShelfOfTheEnded(t *testing.T) {
	t.Parallel()
	l := shelfLab(t, clock.Real{})
	begun := func() *Subscription {
		t.Helper()
		sub := l.beginFetch("SELECT id FROM app.many", &Initial{BatchSize: 100})
		_, _, err := fetch(t, sub, 1)
		l.must(err)
		return sub
	}
	left := func(what string) {
		t.Helper()
		if bytes, places := l.shelved(); bytes != 0 || places != 0 {
			t.Errorf("%s: %d bytes and %d places are left", what, bytes, places)
		}
	}
	begun().Close()
	left("closed")
	killed := begun()
	l.service.Kill(killed.number)
	left("killed")
	_, _, err := fetch(t, killed, 1)
	l.must(err)
	left("asked for more")
	meanwhile := begun()
	l.must(meanwhile.foundBatch(func() error {
		l.service.Kill(meanwhile.number)
		meanwhile.initial.found = []foundRow{{1, "key"}}
		return nil
	}))
	left("killed while a batch was made")
	kept := &l.service.shelf
	kept.take(meanwhile)
	kept.end(meanwhile)
	if kept.put(meanwhile, []foundRow{{1, "key"}}, 1, time.Time{}) {
		t.Error("something is kept for a live query that has ended")
	}
	left("killed at the last moment")
	if users := l.service.shelf.users; len(users) != 0 {
		t.Errorf("%v is counted", users)
	}
}
