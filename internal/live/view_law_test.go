package live

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
)

// viewClient keeps a result by what it is told, as the page on live queries says: it takes out what was deleted or
// updated, and puts in what was updated or inserted, by position from the lowest.
type viewClient struct {
	keys    []string // columns that a row is known by
	ordered bool
	rows    []wireRow
	pending []wireRow // to be put in when the result is complete
	// seen is every complete result by its cursor.
	seen  map[uint64]string
	last  uint64
	wrong []string
}

func (c *viewClient) key(row wireRow) string {
	var key []string
	for _, name := range c.keys {
		key = append(key, fmt.Sprintf("%v", row[name]))
	}
	return strings.Join(key, "|")
}

func (c *viewClient) remove(row wireRow) {
	at := slices.IndexFunc(c.rows, func(r wireRow) bool { return c.key(r) == c.key(row) })
	if at < 0 {
		c.wrong = append(c.wrong, fmt.Sprintf("row %v is not there", row))
		return
	}
	c.rows = slices.Delete(c.rows, at, at+1)
}

// text is a result without the places of its rows: ordered as it is, or by key.
func (c *viewClient) text() string {
	lines := make([]string, len(c.rows))
	for i, row := range c.rows {
		plain := maps.Clone(row)
		delete(plain, "_seq")
		delete(plain, "_position")
		encoded, _ := json.Marshal(plain)
		lines[i] = string(encoded)
	}
	if !c.ordered {
		slices.Sort(lines)
	}
	return strings.Join(lines, "\n")
}

func (c *viewClient) begin(rows []wireRow, cursor uint64) {
	c.rows, c.last = rows, cursor
	for i, row := range rows {
		if position, given := row["_position"].(float64); given != c.ordered || given && int(position) != i {
			c.wrong = append(c.wrong, fmt.Sprintf("row %d has position %v", i, row["_position"]))
		}
	}
	c.seen[cursor] = c.text()
}

func (c *viewClient) apply(t *testing.T, line string) {
	t.Helper()
	var e struct {
		wireEvent
		HasMore bool `json:"has_more"`
	}
	if err := json.Unmarshal([]byte("{"+line), &e); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	for _, row := range e.Old {
		c.remove(row)
	}
	c.pending = append(c.pending, e.Rows...)
	if e.HasMore {
		return
	}
	slices.SortFunc(c.pending, func(a, b wireRow) int { return positionOf(a) - positionOf(b) })
	for _, row := range c.pending {
		at := len(c.rows)
		if c.ordered {
			at = positionOf(row)
		}
		if at > len(c.rows) {
			c.wrong = append(c.wrong, fmt.Sprintf("position %d of %d", at, len(c.rows)))
			at = len(c.rows)
		}
		c.rows = slices.Insert(c.rows, at, row)
	}
	var cursor uint64
	for _, row := range append(slices.Clone(e.Rows), e.Old...) {
		seq, err := strconv.ParseUint(fmt.Sprint(row["_seq"]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		cursor = max(cursor, seq)
	}
	c.pending = nil
	if cursor <= c.last {
		c.wrong = append(c.wrong, fmt.Sprintf("cursor %d follows %d", cursor, c.last))
	}
	c.last = cursor
	c.seen[cursor] = c.text()
}

func positionOf(row wireRow) int {
	at, _ := row["_position"].(float64)
	return int(at)
}

// viewCase is a live query whose result is kept, and what its rows are known by.
type viewCase struct {
	sql     string
	keys    []string
	ordered bool
}

var viewCases = []viewCase{
	{"SELECT COUNT(*) AS n, SUM(score) AS s, MIN(score) AS low, MAX(score) AS high, AVG(score) AS mean FROM app.g", nil, false},
	{"SELECT COUNT(*) AS n FROM app.g WHERE team = 'red' AND score > 20", nil, false},
	{"SELECT team, COUNT(*) AS n, SUM(score) AS s FROM app.g GROUP BY team", []string{"team"}, false},
	{"SELECT team AS t, score % 3 AS r, MAX(id) AS m FROM app.g WHERE score IS NOT NULL GROUP BY team, score % 3 HAVING COUNT(*) > 1", []string{"t", "r"}, false},
	{"SELECT team, SUM(score) AS s FROM app.g GROUP BY 1 ORDER BY s DESC NULLS LAST LIMIT 2", []string{"team"}, true},
	{"SELECT id, score FROM app.g ORDER BY score DESC NULLS LAST LIMIT 5", []string{"id"}, true},
	{"SELECT * FROM app.g WHERE score < 50 ORDER BY score LIMIT 7 OFFSET 2", []string{"id"}, true},
	{"SELECT id, upper(team) AS team FROM app.g ORDER BY team, score LIMIT 1000", []string{"id"}, true},
}

// expected is what the queries give at a cursor.
func (l *lab) expected(user string) (cursor uint64, texts []string) {
	l.tb.Helper()
	snapshot := l.store.NewSnapshot()
	defer snapshot.Close() //nolint:errcheck // nothing was written
	for i, c := range viewCases {
		q, err := bind(l.catalog.Current(), callerOf(user), c.sql, 1, nil)
		l.must(err)
		if cursor, err = changelog.Last(snapshot, q.scope.Group); err != nil {
			l.tb.Fatal(err)
		}
		rows, err := l.engine.Look(l.tb.Context(), callerOf(user), q.view.node, snapshot, maxViewRows)
		l.must(err)
		r, err := newResult(q, &rows, cursor)
		l.must(err)
		client := &viewClient{ordered: c.ordered}
		l.must(json.Unmarshal((&Subscription{had: r}).viewBatch().Rows, &client.rows))
		texts = append(texts, client.text())
		if i == 0 && len(rows.Rows) != 1 {
			l.tb.Fatalf("%v", rows.Rows)
		}
	}
	return cursor, texts
}

func (l *lab) beginView(c viewCase, sink Sink) (*Subscription, *viewClient) {
	l.tb.Helper()
	client := &viewClient{keys: c.keys, ordered: c.ordered, seen: map[uint64]string{}}
	sub, err := l.service.Subscribe(l.tb.Context(), callerOf("alice"), sink, Request{ID: "v", SQL: c.sql, Initial: &Initial{}})
	l.must(err)
	batch, err := sub.NextBatch(l.tb.Context())
	l.must(err)
	var rows []wireRow
	l.must(json.Unmarshal(batch.Rows, &rows))
	if batch.HasMore || batch.Count != len(rows) || !sub.Whole() {
		l.tb.Fatalf("batch %+v", batch)
	}
	client.begin(rows, batch.LastSeq)
	l.must(sub.Follow(l.tb.Context(), noPace))
	return sub, client
}

// TestResultIsThatOfItsCursor: whatever a client has when a result is complete is what the query gives at the cursor
// it was told, in order where there is one; and in the end it is what the query gives then. It holds while rows come, move,
// change groups and go, the stream falls behind its feed, the state is replaced as by a snapshot, and clients come and go.
func TestResultIsThatOfItsCursor(t *testing.T) {
	t.Parallel()
	for name, feed := range map[string]changefeed.Config{"feed": {}, "tiny feed": {MaxChanges: 2}} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%s %d", name, seed), func(t *testing.T) {
				t.Parallel()
				l := newLab(t, feed)
				l.sql("admin", "CREATE NAMESPACE app")
				l.sql("admin", "CREATE TABLE app.g (id BIGINT PRIMARY KEY, team TEXT, score BIGINT) WITH (TYPE='USER')")
				random := rand.New(rand.NewPCG(3, seed))
				expected := map[uint64][]string{}
				note := func() {
					cursor, texts := l.expected("alice")
					expected[cursor] = texts
				}
				note()
				type open struct {
					at     int
					sub    *Subscription
					client *viewClient
					sink   *tape
				}
				var clients []*open
				follow := func(at int) {
					sink := &tape{}
					sub, client := l.beginView(viewCases[at], sink)
					clients = append(clients, &open{at, sub, client, sink})
				}
				for at := range viewCases {
					follow(at)
				}
				for i := range 120 {
					l.changeGame(random)
					note()
					switch {
					case i%40 == 39:
						l.reinstall()
					case i%17 == 16:
						follow(random.IntN(len(viewCases)))
					case i%29 == 28:
						clients[random.IntN(len(clients))].sub.Close()
					case i%5 == 0:
						l.settleViews()
					}
				}
				l.settleViews()
				_, final := l.expected("alice")
				for _, c := range clients {
					for line := range strings.Lines(c.sink.take()) {
						_, content, _ := strings.Cut(line, ": ")
						c.client.apply(t, content)
					}
					if diff := cmp.Diff(final[c.at], c.client.text()); len(c.client.wrong) > 0 || diff != "" && !c.sub.closed {
						t.Errorf("%s: %q; in the end (-want +got):\n%s", viewCases[c.at].sql, c.client.wrong, diff)
					}
					for at, text := range c.client.seen {
						if want, known := expected[at]; !known || want[c.at] != text {
							t.Errorf("%s: at cursor %d (-want +got):\n%s", viewCases[c.at].sql, at, cmp.Diff(append(want, "")[min(c.at, len(want))], text))
						}
					}
				}
			})
		}
	}
}

// changeGame changes a few rows in one command.
func (l *lab) changeGame(random *rand.Rand) {
	id, team := random.IntN(25), []string{"'red'", "'blue'", "'green'", "NULL"}[random.IntN(4)]
	statement := ""
	switch random.IntN(6) {
	case 0, 1:
		statement = fmt.Sprintf("INSERT INTO app.g VALUES (%d, %s, %d), (%d, %s, NULL) ON CONFLICT (id) DO UPDATE SET score = EXCLUDED.score",
			id, team, random.IntN(100), id+25, team)
	case 2:
		statement = fmt.Sprintf("DELETE FROM app.g WHERE id IN (%d, %d)", id, id+1)
	case 3:
		statement = fmt.Sprintf("UPDATE app.g SET team = %s WHERE id > %d", team, id+20)
	case 4:
		statement = fmt.Sprintf("UPDATE app.g SET score = 100 - score WHERE id %% 4 = %d", random.IntN(4))
	case 5:
		statement = fmt.Sprintf("UPDATE app.g SET score = %d WHERE id = %d", random.IntN(100), id)
	}
	l.sql("alice", statement)
}

// settlePurge waits until no result is kept, and whoever followed one has been told. A purge is no position in the change
// log, so nothing else says how far the streams have come.
func (l *lab) settlePurge() {
	l.tb.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for left := true; left; {
		left = false
		l.service.mu.Lock()
		streams := slices.Collect(maps.Values(l.service.streams))
		l.service.mu.Unlock()
		for _, st := range streams {
			st.mu.Lock() // held until those who followed are told
			left = left || len(st.views) > 0
			st.mu.Unlock()
		}
		if time.Now().After(deadline) {
			l.tb.Fatal("results are still kept")
		}
		runtime.Gosched()
	}
}

// settleViews waits until every result is made that is due.
func (l *lab) settleViews() {
	l.tb.Helper()
	l.settle()
	deadline := time.Now().Add(20 * time.Second)
	for due := true; due; {
		due = false
		l.service.mu.Lock()
		streams := slices.Collect(maps.Values(l.service.streams))
		l.service.mu.Unlock()
		for _, st := range streams {
			st.mu.Lock()
			for _, list := range st.views {
				for _, v := range list {
					due = due || v.dirty || v.running
				}
			}
			st.mu.Unlock()
		}
		if time.Now().After(deadline) {
			l.tb.Fatal("results are still due")
		}
		runtime.Gosched()
	}
}
