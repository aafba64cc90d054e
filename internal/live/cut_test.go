package live

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// ledger is a client of several live queries that keeps the balances of two tables and the numbers of two others.
type ledger struct {
	mu     sync.Mutex // guards everything below
	amount map[string]int
	total  int
	ready  bool
	wrong  []string
	events int
}

func (l *ledger) put(table string, row wireRow) {
	l.amount[table+fmt.Sprint(row["id"])], _ = strconv.Atoi(fmt.Sprint(row["n"]))
}

// balance is the sum over both tables, which every transfer leaves as it is.
func (l *ledger) balance() (sum int) {
	for key, n := range l.amount {
		if key[0] == 'a' || key[0] == 'b' {
			sum += n
		}
	}
	return sum
}

// Deliver implements Sink.
func (l *ledger) Deliver(notifications []Notification) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ready {
		l.wrong = append(l.wrong, "a change before everything was ready")
	}
	for _, n := range notifications {
		var e wireEvent
		if err := json.Unmarshal(append([]byte{'{'}, n.Event.JSON...), &e); err != nil {
			l.wrong = append(l.wrong, err.Error())
		}
		if n.Sub.ID == "sum" {
			continue
		}
		for _, row := range e.Old {
			if e.Kind == "delete" {
				delete(l.amount, n.Sub.ID+fmt.Sprint(row["id"]))
			}
		}
		for _, row := range e.Rows {
			l.put(n.Sub.ID, row)
		}
		l.events++
	}
	if sum := l.balance(); sum != l.total {
		l.wrong = append(l.wrong, fmt.Sprintf("the balance is %d, want %d", sum, l.total))
	}
}

// Ended implements Sink.
func (l *ledger) Ended(_ *Subscription, why *Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, why.Error())
}

func cutLab(t *testing.T, wall clock.Clock) *lab {
	t.Helper()
	l := newLabAt(t, changefeed.Config{MaxChanges: 64}, wall)
	l.sql("admin", `CREATE NAMESPACE app;
		CREATE TABLE app.a (id BIGINT PRIMARY KEY, n BIGINT) WITH (TYPE='USER');
		CREATE TABLE app.b (id BIGINT PRIMARY KEY, n BIGINT) WITH (TYPE='USER');
		CREATE TABLE app.first (id BIGINT PRIMARY KEY, n BIGINT) WITH (TYPE='USER');
		CREATE TABLE app.second (id BIGINT PRIMARY KEY, n BIGINT) WITH (TYPE='SHARED', ACCESS_LEVEL='public')`)
	for i := range 10 {
		l.sql("alice", fmt.Sprintf("INSERT INTO app.a VALUES (%d, 10); INSERT INTO app.b VALUES (%d, 10)", i, i))
	}
	l.sql("alice", "INSERT INTO app.first VALUES (1, 0)")
	l.sql("bot", "INSERT INTO app.second VALUES (1, 0)")
	return l
}

// TestCutIsConsistent: while transfers between two tables of one group go on, and while a number is written to one group
// and then to another, cuts are taken whose rows are fetched in small pieces. What a client has when a cut is ready, and
// after each delivery from then on, holds no half transfer; the groups stand where they stood at one instant; everything
// acknowledged before is there.
func TestCutIsConsistent(t *testing.T) {
	t.Parallel()
	l := cutLab(t, clock.Real{})
	var writing sync.WaitGroup
	stop := make(chan struct{})
	var acknowledged atomic.Int64
	writing.Go(func() {
		random := rand.New(rand.NewPCG(5, 6))
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			from, to, n := random.IntN(10), random.IntN(10), random.IntN(9)
			transfer := fmt.Sprintf("BEGIN; UPDATE app.a SET n = n - %d WHERE id = %d; UPDATE app.b SET n = n + %d WHERE id = %d; COMMIT", n, from, n, to)
			if i%4 == 0 {
				transfer = fmt.Sprintf("BEGIN; DELETE FROM app.b WHERE id = 100; INSERT INTO app.b VALUES (100, %d); "+
					"UPDATE app.a SET n = n - %d WHERE id = 0; DELETE FROM app.b WHERE id = 100; UPDATE app.a SET n = n + %d WHERE id = 0; COMMIT", n, n, n)
			}
			for _, step := range []struct{ user, sql string }{
				{"alice", transfer},
				{"alice", fmt.Sprintf("UPDATE app.first SET n = %d WHERE id = 1", i)},
				{"bot", fmt.Sprintf("UPDATE app.second SET n = %d WHERE id = 1", i)},
			} {
				if _, err := l.engine.Execute(t.Context(), exec.Request{SQL: step.sql, Session: callerOf(step.user)}); err != nil {
					t.Errorf("%s: %v", step.sql, err)
				}
			}
			acknowledged.Store(int64(i))
		}
	})
	for range 60 {
		before := acknowledged.Load()
		sink := &ledger{amount: map[string]int{}, total: 200}
		cut := l.takeCut(sink)
		sink.mu.Lock()
		first, second := sink.amount["first1"], sink.amount["second1"]
		if sum := sink.balance(); sum != 200 || int64(first) < before || int64(second) < before || second > first || first > second+1 {
			t.Errorf("a cut has a balance of %d and the numbers %d and %d; %d was acknowledged before", sum, first, second, before)
		}
		sink.ready = true
		sink.mu.Unlock()
		l.must(cut.CatchUp(t.Context(), noPace))
		l.must(cut.Follow(t.Context(), noPace))
		l.settle()
		// What comes while one after the other is closed is for those that are left, so it is judged before.
		sink.mu.Lock()
		wrong := slices.Clone(sink.wrong)
		sink.mu.Unlock()
		for _, sub := range cut.Subscriptions() {
			sub.Close()
		}
		if len(wrong) > 0 {
			t.Errorf("%q", wrong)
			break
		}
	}
	close(stop)
	writing.Wait()
	if l.service.cuts != 0 || l.service.views != 0 {
		t.Errorf("%d cuts and %d results are held", l.service.cuts, l.service.views)
	}
}

// takeCut begins with all tables and fetches their rows, a few at a time, one table after the other.
func (l *lab) takeCut(sink *ledger) *Cut {
	l.tb.Helper()
	var requests []Request
	for _, name := range []string{"a", "b", "first", "second"} {
		requests = append(requests, Request{ID: name, SQL: "SELECT id, n FROM app." + name, Initial: &Initial{BatchSize: 3}})
	}
	requests = append(requests, Request{ID: "sum", SQL: "SELECT SUM(n) AS n FROM app.a", Initial: &Initial{}})
	cut, failed, err := l.service.SubscribeCut(l.tb.Context(), callerOf("alice"), sink, requests)
	if err != nil {
		l.tb.Fatalf("%s: %v", failed, err)
	}
	sum, total := 0, ""
	for i, sub := range cut.Subscriptions() {
		for more := true; more; {
			batch, err := sub.NextBatch(l.tb.Context())
			l.must(err)
			var rows []wireRow
			l.must(json.Unmarshal(batch.Rows, &rows))
			for _, row := range rows {
				switch sub.ID {
				case "sum":
					total = fmt.Sprint(row["n"])
					continue
				case "a":
					n, _ := strconv.Atoi(fmt.Sprint(row["n"]))
					sum += n
				}
				sink.put(sub.ID, row)
			}
			more = batch.HasMore
		}
		if group, position := sub.Position(); sub.ID == "b" {
			if other, at := cut.Subscriptions()[0].Position(); other != group || at != position {
				l.tb.Errorf("%s stands at %d, %s at %d", other, at, group, position)
			}
		}
		if last := i == len(requests)-1; cut.Done(sub) != last {
			l.tb.Errorf("done is not %v after %s", last, sub.ID)
		}
	}
	if total != strconv.Itoa(sum) {
		l.tb.Errorf("the sum of a is %s, its rows make %d", total, sum)
	}
	return cut
}

// TestCutResumes: each subscription from a cursor of its own, to one position, with deletes.
func TestCutResumes(t *testing.T) {
	t.Parallel()
	l := cutLab(t, clock.Real{})
	sink := &ledger{amount: map[string]int{}, total: 200}
	cut := l.takeCut(sink)
	_, cursor := cut.Subscriptions()[0].Position()
	for _, sub := range cut.Subscriptions() {
		sub.Close()
	}
	cut.Close()
	l.sql("alice", "BEGIN; UPDATE app.a SET n = n - 5 WHERE id = 1; UPDATE app.b SET n = n + 5 WHERE id = 1; COMMIT")
	l.sql("alice", "BEGIN; DELETE FROM app.a WHERE id = 2; UPDATE app.b SET n = n + 10 WHERE id = 2; COMMIT")
	l.sql("alice", "BEGIN; UPDATE app.a SET n = n + 3 WHERE id = 3; DELETE FROM app.b WHERE id = 3; UPDATE app.b SET n = n + 7 WHERE id = 4; COMMIT")
	again, failed, err := l.service.SubscribeCut(t.Context(), callerOf("alice"), sink, []Request{
		{ID: "a", SQL: "SELECT id, n FROM app.a", Initial: &Initial{From: &cursor}},
		{ID: "b", SQL: "SELECT id, n FROM app.b", Initial: &Initial{From: &cursor}},
	})
	if err != nil {
		t.Fatal(failed, err)
	}
	for _, sub := range again.Subscriptions() {
		batch, err := sub.NextBatch(t.Context())
		l.must(err)
		var rows []wireRow
		l.must(json.Unmarshal(batch.Rows, &rows))
		for _, row := range rows {
			sink.put(sub.ID, row)
		}
		again.Done(sub)
	}
	sink.ready = true
	// What was written since is not part of the cut.
	l.sql("alice", "BEGIN; DELETE FROM app.a WHERE id = 5; UPDATE app.b SET n = n + 10 WHERE id = 5; COMMIT")
	sink.total = -1 // the deletes are applied one command after the other, the rows were there before
	l.must(again.CatchUp(t.Context(), noPace))
	sink.total, sink.wrong = 200, nil
	if sum, events := sink.balance(), sink.events; sum != 200 || events == 0 || sink.amount["a5"] != 10 {
		t.Errorf("the cut has a balance of %d after %d events; %v", sum, events, sink.amount)
	}
	l.must(again.Follow(t.Context(), noPace))
	l.settle()
	if sum := sink.balance(); sum != 200 || len(sink.wrong) > 0 || sink.amount["b5"] != 20 {
		t.Errorf("after resuming: a balance of %d after %d events, %q", sum, sink.events, sink.wrong)
	}
	for _, sub := range again.Subscriptions() {
		sub.Close()
	}
}

// TestCutsThatFail: all of a cut or nothing; what is held is given back, also when nobody fetches the rows.
func TestCutsThatFail(t *testing.T) {
	t.Parallel()
	wall := clock.NewManual(time.Unix(1_700_000_000, 0))
	l := cutLab(t, wall)
	good := Request{ID: "a", SQL: "SELECT * FROM app.a", Initial: &Initial{BatchSize: 2}}
	for _, c := range []struct {
		bad  Request
		code Code
	}{
		{Request{ID: "x", SQL: "SELECT * FROM app.nothing"}, CodeNotFound},
		{Request{ID: "x", SQL: "SELECT * FROM app.b", Initial: &Initial{From: new(uint64(1) << 60)}}, CodeCursorTooOld},
		{Request{ID: "x", SQL: "SELECT MAX(nope) FROM app.b"}, CodeInvalidSQL},
		{Request{ID: strings.Repeat("x", 300), SQL: "SELECT * FROM app.b"}, CodeInvalidID},
	} {
		_, failed, err := l.service.SubscribeCut(t.Context(), callerOf("alice"), &tape{}, []Request{good, c.bad})
		if known, ok := err.(*Error); !ok || known.Code != c.code || failed != c.bad.ID { //nolint:errorlint // the contract is this type
			t.Errorf("%s: %v of %q, want %s", c.bad.SQL, err, failed, c.code)
		}
	}
	if l.service.Count() != 0 || l.service.cuts != 0 || l.service.views != 0 {
		t.Errorf("%d subscriptions, %d cuts and %d results are left", l.service.Count(), l.service.cuts, l.service.views)
	}
	cut, _, err := l.service.SubscribeCut(t.Context(), callerOf("alice"), &tape{}, []Request{good})
	l.must(err)
	sub := cut.Subscriptions()[0]
	defer sub.Close()
	_, err = sub.NextBatch(t.Context())
	l.must(err)
	deadline := time.Now().Add(10 * time.Second)
	for err == nil && time.Now().Before(deadline) {
		wall.Advance(cutPatience)
		sub.initial.found, sub.initial.last, sub.initial.scanned = nil, 0, false // there is always another batch
		_, err = sub.NextBatch(t.Context())
	}
	if known, ok := err.(*Error); !ok || known.Code != CodeBatchFetch { //nolint:errorlint // the contract is this type
		t.Errorf("after the time for fetching is over: %v", err)
	}
}
