package live

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
)

// idsOf is what whoever was given events has: the ids in order.
func idsOf(t *testing.T, events []string) string {
	t.Helper()
	there := map[int]bool{}
	for _, event := range events {
		var e wireEvent
		if err := json.Unmarshal([]byte("{"+event), &e); err != nil {
			t.Fatal(err)
		}
		for _, row := range append(e.Old, e.Rows...) {
			id, err := strconv.Atoi(fmt.Sprint(row["id"]))
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == "insert" == there[id] && len(e.Rows) > 0 || e.Kind == "delete" && !there[id] {
				t.Errorf("%s of %d, which is there: %v", e.Kind, id, there[id])
			}
			there[id] = e.Kind != "delete"
		}
	}
	var ids []string
	for id := range 10 {
		if there[id] {
			ids = append(ids, strconv.Itoa(id))
		}
	}
	return strings.Join(ids, " ")
}

// TestIndexEqualsTesting: the index gives each subscription what testing its condition against the rows gives, once; with it the subscription has
// what a query gives.
func TestIndexEqualsTesting(t *testing.T) {
	l := newLab(t, changefeed.Config{})
	l.sql("admin", "CREATE NAMESPACE app")
	l.sql("admin", "CREATE TABLE app.t (id BIGINT PRIMARY KEY, room BIGINT, body TEXT, d DOUBLE, n DECIMAL(10, 2), f BOOLEAN) WITH (TYPE='SHARED', ACCESS_LEVEL='public')")
	conditions := []string{
		"", "WHERE room = 1", "WHERE room IN (1, 2, 3)", "WHERE room IN (2, 3) AND id > 5", "WHERE room = 2 OR id = 3",
		"WHERE id = 4", "WHERE id IN (4, 5) AND room = 1", "WHERE room = 1.5", "WHERE room IS NULL", "WHERE room > 1", "WHERE body = 'b'",
		"WHERE room = 1 AND room = 2", "WHERE room = NULL", "WHERE body IN ('a', 'c')",
		"WHERE room IN (1, NULL)", "WHERE room NOT IN (1, 2)", "WHERE room NOT IN (1, NULL)", "WHERE room <> 1", "WHERE room = 1 OR room IS NULL",
		"WHERE NOT (room = 1)", "WHERE room IS NULL AND id = 3", "WHERE COALESCE(room, 0) = 0", "WHERE room IS DISTINCT FROM 1", "WHERE room = id",
		"WHERE d = 0", "WHERE d IN (0, 1.5)", "WHERE d = 0 AND f", "WHERE n = 1.5", "WHERE n IN (1.50, 2)", "WHERE n = 1.505",
		"WHERE f", "WHERE f = true", "WHERE NOT f", "WHERE f IS NOT TRUE", "WHERE f AND body = 'a' AND room = 2", "WHERE body LIKE 'a%'",
		"WHERE body = 'a' OR body = 'b'", "WHERE (room, body) = (1, 'a')", "WHERE (room, id) IN ((1, 2), (2, 3))", "WHERE room BETWEEN 2 AND 2",
	}
	sink := &tape{}
	var subs []*Subscription
	for i, condition := range conditions {
		sub, err := l.service.Subscribe(t.Context(), callerOf("alice"), sink, Request{
			ID: strconv.Itoa(i), SQL: "SELECT id FROM app.t " + condition,
		})
		l.must(err)
		l.must(sub.Follow(t.Context(), noPace))
		subs = append(subs, sub)
	}
	random := rand.New(rand.NewPCG(3, 4))
	value := func() string { return []string{"1", "2", "3", "4", "NULL"}[random.IntN(5)] }
	for range 400 {
		id := random.IntN(8)
		statement := fmt.Sprintf("UPDATE app.t SET room = %s, body = '%c', d = %s, n = %s, f = %s WHERE id = %d", value(), 'a'+rune(random.IntN(3)),
			[]string{"0", "-0.0", "1.5", "NULL"}[random.IntN(4)], []string{"1.5", "2", "NULL"}[random.IntN(3)], []string{"true", "false", "NULL"}[random.IntN(3)], id)
		switch random.IntN(4) {
		case 0:
			statement = fmt.Sprintf("DELETE FROM app.t WHERE id = %d", id)
		case 1, 2:
			statement = fmt.Sprintf("INSERT INTO app.t (id, room, body) VALUES (%d, %s, 'b') ON CONFLICT (id) DO UPDATE SET room = %s", id, value(), value())
		}
		l.sql("bot", statement)
	}
	l.settle()
	got := map[string][]string{}
	for line := range strings.Lines(sink.take()) {
		id, event, _ := strings.Cut(strings.TrimSpace(line), ": ")
		got[id] = append(got[id], event)
	}
	for _, sub := range subs {
		var want []string
		snapshot := l.store.NewSnapshot()
		err := sub.changes(snapshot, 0, 1<<62, func(r *rows, kind changefeed.Kind) (bool, error) {
			event, err := sub.query.projection.event(r, kind)
			want = append(want, string(event.JSON))
			return true, err
		})
		l.must(err)
		l.must(snapshot.Close())
		if diff := cmp.Diff(want, got[sub.ID]); diff != "" {
			t.Errorf("%q (-tested +index):\n%s", sub.sql, diff)
		}
		if diff := cmp.Diff(l.query("bot", sub.sql), idsOf(t, got[sub.ID])); diff != "" {
			t.Errorf("%q (-query +changes):\n%s", sub.sql, diff)
		}
	}
}

// TestConditionsAreIndexed: which conditions are found by a value, and which of them say nothing beside it. Without that
// matching costs as much as there are subscriptions, and nothing else would tell.
func TestConditionsAreIndexed(t *testing.T) {
	l := newLab(t, changefeed.Config{})
	l.sql("admin", "CREATE NAMESPACE app")
	l.sql("admin", "CREATE TABLE app.t (id BIGINT PRIMARY KEY, room INT, body TEXT, at TIMESTAMP) WITH (TYPE='SHARED', ACCESS_LEVEL='public')")
	for _, c := range []struct {
		condition string
		column    int // -1 for none
		exact     bool
		bounded   bool // the initial rows are found by the primary key
	}{
		{"room = 5", 1, true, false},
		{"5 = room", 1, true, false},
		{"room IN (5, 6)", 1, true, false},
		{"room = 5 AND body <> 'x'", 1, false, false},
		{"body = 'x'", 2, true, false},
		{"body = CURRENT_USER()", 2, true, false},
		{"at = '2026-01-02T03:04:05Z'", 3, true, false},
		{"id = 7", 0, true, true},
		{"id > 7 AND id < 9 AND room = 1", 1, false, true},
		{"room > 5", -1, false, false},
		{"room = 5 OR body = 'x'", -1, false, false},
	} {
		q, err := bind(l.catalog.Current(), callerOf("alice"), "SELECT * FROM app.t WHERE "+c.condition, 0, nil)
		l.must(err)
		if q.indexed != c.column || q.exact != c.exact || (q.bounds != nil) != c.bounded {
			t.Errorf("%s: column %d, exact %v, bounds %v; want %+v", c.condition, q.indexed, q.exact, q.bounds, c)
		}
	}
}
