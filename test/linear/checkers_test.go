package linear

import (
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/client"
)

// at is a call that began and returned at these milliseconds.
func at(begin, end int, o outcome) call {
	return call{begin: time.Duration(begin) * time.Millisecond, end: time.Duration(end) * time.Millisecond, outcome: o}
}

func put(key, value int64) listOp         { return listOp{key: key, append: value} }
func get(key int64, list ...int64) listOp { return listOp{key: key, read: list} }

func txn(c call, ops ...listOp) listTxn { return listTxn{call: c, ops: ops} }

// TestListsCheckerSeesAnomalies gives histories to the checker of transactions; want is a kind of anomaly, or nothing.
func TestListsCheckerSeesAnomalies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want string
		txns []listTxn
	}{
		"serial": {"", []listTxn{
			txn(at(0, 1, done), put(1, 1), put(2, 2)), txn(at(2, 3, done), get(1, 1), put(1, 3)), txn(at(4, 5, done), get(1, 1, 3), get(2, 2)),
		}},
		"own appends": {"", []listTxn{txn(at(0, 1, done), put(1, 1), get(1, 1), put(1, 2)), txn(at(2, 3, done), get(1, 1, 2))}},
		"concurrent, and an unknown one that took effect": {"", []listTxn{
			txn(at(0, 9, done), put(1, 1)), txn(at(0, 2, unknown), put(1, 2)), txn(at(5, 9, done), get(1, 2)), txn(at(10, 11, done), get(1, 2, 1)),
		}},
		"unknown without effect": {"", []listTxn{txn(at(0, 1, unknown), put(1, 1)), txn(at(2, 3, done), get(1))}},
		"phantom":                {"phantom", []listTxn{txn(at(0, 1, done), get(1, 7))}},
		"aborted read":           {"G1a", []listTxn{txn(at(0, 1, refused), put(1, 1)), txn(at(2, 3, done), get(1, 1))}},
		"intermediate read": {"G1b", []listTxn{
			txn(at(0, 9, done), put(1, 1), put(1, 2)), txn(at(2, 3, done), get(1, 1)), txn(at(10, 11, done), get(1, 1, 2)),
		}},
		"twice":             {"twice", []listTxn{txn(at(0, 1, done), put(1, 1)), txn(at(2, 3, done), get(1, 1, 1))}},
		"own append unseen": {"own append", []listTxn{txn(at(0, 1, done), put(1, 1), get(1)), txn(at(2, 3, done), get(1, 1))}},
		"lost append":       {"lost append", []listTxn{txn(at(0, 1, done), put(1, 1)), txn(at(2, 3, done), get(1))}},
		"two orders": {"incompatible", []listTxn{
			txn(at(0, 9, done), put(1, 1)), txn(at(0, 9, done), put(1, 2)), txn(at(0, 9, done), get(1, 1)), txn(at(10, 11, done), get(1, 2, 1)),
		}},
		"write skew": {"cycle", []listTxn{
			txn(at(0, 9, done), get(1), put(2, 2)), txn(at(0, 9, done), get(2), put(1, 1)), txn(at(10, 11, done), get(1, 1), get(2, 2)),
		}},
		"stale read": {"cycle", []listTxn{
			txn(at(0, 1, done), put(1, 1)), txn(at(2, 3, done), get(1)), txn(at(4, 5, done), get(1, 1)),
		}},
		"circular information": {"cycle", []listTxn{
			txn(at(0, 9, done), put(1, 1), get(2, 2)), txn(at(0, 9, done), put(2, 2), get(1, 1)), txn(at(10, 11, done), get(1, 1), get(2, 2)),
		}},
		"fractured read": {"cycle", []listTxn{
			txn(at(0, 9, done), put(1, 1), put(2, 2)), txn(at(0, 9, done), get(1, 1), get(2)), txn(at(10, 11, done), get(1, 1), get(2, 2)),
		}},
	} {
		expectKind(t, name, c.want, judgeLists("list-append", c.txns))
	}
}

func expectKind(t *testing.T, name, want string, found []anomaly) {
	t.Helper()
	for _, a := range found {
		if want != "" && strings.Contains(a.kind, want) {
			return
		}
	}
	if want != "" || len(found) > 0 {
		t.Errorf("%s: found %v, want %q", name, found, want)
	}
}

// TestRegisterModelSeesAnomalies gives histories of one row to porcupine.
func TestRegisterModelSeesAnomalies(t *testing.T) {
	t.Parallel()
	op := func(c call, kind string, value, expected int64, applied bool) registerCall {
		return registerCall{call: c, key: 1, kind: kind, value: value, expected: expected, applied: applied}
	}
	for name, c := range map[string]struct {
		want  string
		calls []registerCall
	}{
		"serial": {"", []registerCall{
			op(at(0, 1, done), "write", 1, 0, false), op(at(2, 3, done), "cas", 2, 1, true), op(at(4, 5, done), "cas", 3, 1, false),
			op(at(6, 7, done), "read", 2, 0, false),
		}},
		"an unknown write that comes late": {"", []registerCall{
			op(at(0, 1, unknown), "write", 1, 0, false), op(at(2, 3, done), "read", nothing, 0, false), op(at(4, 5, done), "read", 1, 0, false),
		}},
		"stale read": {"not linearizable", []registerCall{
			op(at(0, 1, done), "write", 1, 0, false), op(at(2, 3, done), "read", nothing, 0, false),
		}},
		"went back": {"not linearizable", []registerCall{
			op(at(0, 9, done), "write", 1, 0, false), op(at(1, 2, done), "read", 1, 0, false), op(at(3, 4, done), "read", nothing, 0, false),
		}},
		"lost update": {"not linearizable", []registerCall{
			op(at(0, 1, done), "write", 1, 0, false), op(at(2, 9, done), "cas", 2, 1, true), op(at(2, 9, done), "cas", 3, 1, true),
		}},
	} {
		expectKind(t, name, c.want, (&registers{calls: c.calls}).judge())
	}
}

// TestOtherCheckersSeeAnomalies gives histories to the remaining checkers.
func TestOtherCheckersSeeAnomalies(t *testing.T) {
	t.Parallel()
	set := func(adds map[int64]call, reads ...setRead) []anomaly {
		return (&elements{adds: adds, reads: reads}).judge()
	}
	read := func(begin, end int, seen ...int64) setRead { return setRead{call: at(begin, end, done), seen: seen} }
	adds := map[int64]call{1: at(0, 1, done), 2: at(0, 5, done), 3: at(0, 1, refused), 4: at(0, 1, unknown)}
	expectKind(t, "set, sound", "", set(adds, read(2, 3, 1), read(6, 7, 1, 2), read(8, 9, 1, 2, 4)))
	expectKind(t, "set, lost", "lost", set(adds, read(6, 7, 1)))
	expectKind(t, "set, went back", "lost", set(adds, read(2, 3, 1, 4), read(4, 5, 1)))
	expectKind(t, "set, refused", "refused", set(adds, read(6, 7, 1, 2, 3)))
	expectKind(t, "set, phantom", "phantom", set(adds, read(6, 7, 1, 2, 9)))
	expectKind(t, "set, twice", "twice", set(adds, read(6, 7, 1, 2, 2)))

	money := func(balances ...int64) []anomaly { return (&bank{reads: []bankRead{{balances: balances}}}).judge() }
	expectKind(t, "bank, sound", "", money(0, 200, 100, 100, 100, 100))
	expectKind(t, "bank, made", "made or lost", money(100, 200, 100, 100, 100, 100))
	expectKind(t, "bank, overdrawn", "overdrawn", money(-50, 250, 100, 100, 100, 100))

	count := func(reads ...counterRead) []anomaly {
		return (&counter{adds: []call{at(0, 1, done), at(0, 9, done), at(0, 1, refused), at(5, 6, unknown)}, reads: reads}).judge()
	}
	saw := func(begin, end int, value, seq int64) counterRead {
		return counterRead{call: at(begin, end, done), value: value, seq: seq}
	}
	expectKind(t, "counter, sound", "", count(saw(2, 3, 1, 10), saw(10, 11, 3, 30)))
	expectKind(t, "counter, lost", "lost or doubled", count(saw(2, 3, 0, 10)))
	expectKind(t, "counter, doubled", "lost or doubled", count(saw(10, 11, 4, 10)))
	expectKind(t, "counter, went back", "went back", count(saw(2, 3, 2, 20), saw(4, 5, 1, 10)))
	expectKind(t, "counter, seq", "_seq", count(saw(2, 3, 1, 20), saw(10, 11, 2, 10)))
}

// TestStreamCheckerSeesAnomalies gives events to a subscriber.
func TestStreamCheckerSeesAnomalies(t *testing.T) {
	t.Parallel()
	row := func(id, value string) []client.Row { return []client.Row{{"id": id, "value": value}} }
	events := func(all ...client.Event) []anomaly {
		one := &subscriber{number: 1, rows: map[int64]int64{}, seen: map[int64]bool{}, everSeen: map[int64]bool{}}
		for _, event := range all {
			one.take(event, 1)
		}
		s := &streams{
			subscribers: []*subscriber{one}, final: map[int64]int64{1: 12},
			writes: []streamWrite{{call: at(2, 3, done), id: 1, value: 11}, {call: at(4, 5, done), id: 1, value: 12}, {call: at(4, 5, refused), id: 2, value: 13}},
		}
		return s.judge()
	}
	ready := client.Event{Kind: client.Ready}
	first := client.Event{Kind: client.Insert, Rows: row("1", "11"), Cursor: 5}
	second := client.Event{Kind: client.Update, Rows: row("1", "12"), Cursor: 6}
	gone := client.Event{Kind: client.Delete, OldValues: row("1", "12"), Cursor: 7}
	expectKind(t, "sound", "", events(ready, first, second))
	expectKind(t, "began anew", "", events(ready, first, client.Event{Kind: client.Reset}, second, ready))
	expectKind(t, "lost", "lost", events(ready, second))
	expectKind(t, "twice", "twice", events(ready, first, first, second))
	expectKind(t, "differs", "differs", events(ready, first, second, gone))
	expectKind(t, "went back", "went back", events(ready, first, client.Event{Kind: client.Update, Rows: row("1", "12"), Cursor: 4}))
	expectKind(t, "refused", "phantom", events(ready, first, client.Event{Kind: client.Insert, Rows: row("2", "13"), Cursor: 5}, gone, second))
}
