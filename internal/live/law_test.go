package live

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// follower is a client that keeps what a live query says is there.
type follower struct {
	tape
	rows map[string]string // body by id
	last uint64
	gone []string // what broke a promise
}

type wireRow map[string]any

type wireEvent struct {
	Kind string    `json:"change_type"`
	Rows []wireRow `json:"rows"`
	Old  []wireRow `json:"old_values"`
}

func (f *follower) note(row wireRow) {
	text, _ := row["_seq"].(string)
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil || seq <= f.last {
		f.gone = append(f.gone, fmt.Sprintf("_seq %q follows %d", text, f.last))
	}
	f.last = seq
}

func (f *follower) put(row wireRow) {
	f.note(row)
	id, _ := row["id"].(string)
	body, _ := row["body"].(string)
	f.rows[id] = body
}

func (f *follower) apply(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		_, content, _ := strings.Cut(line, ": ")
		var e wireEvent
		if err := json.Unmarshal([]byte("{"+content), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		switch e.Kind {
		case "insert":
			if _, there := f.rows[fmt.Sprint(e.Rows[0]["id"])]; there {
				f.gone = append(f.gone, "inserted twice: "+line)
			}
			f.put(e.Rows[0])
		case "update":
			f.put(e.Rows[0])
		case "delete":
			f.note(e.Old[0])
			delete(f.rows, fmt.Sprint(e.Old[0]["id"]))
		}
	}
}

// TestNothingLostNothingTwice: while rows come, change, leave a condition and go, subscribers begin, page, leave and
// resume, and the state of the group is replaced as by a snapshot. In the end each has exactly the rows that a query
// gives, and every _seq it saw was larger than the one before.
func TestNothingLostNothingTwice(t *testing.T) {
	t.Parallel()
	for name, feed := range map[string]changefeed.Config{"feed": {}, "tiny feed": {MaxChanges: 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, feed)
			l.sql("admin", "CREATE NAMESPACE app")
			l.sql("admin", "CREATE TABLE app.t (id BIGINT PRIMARY KEY, body TEXT, shown BOOLEAN) WITH (TYPE='USER')")
			var writing, reading sync.WaitGroup
			stop := make(chan struct{})
			for w := range 2 {
				writing.Go(func() { l.write(rand.New(rand.NewPCG(1, uint64(w))), 300) })
			}
			followers := make([]*follower, 6)
			for i := range followers {
				followers[i] = &follower{rows: make(map[string]string)}
				reading.Go(func() { l.follow(t, followers[i], rand.New(rand.NewPCG(2, uint64(i))), stop) })
			}
			writing.Wait()
			close(stop)
			reading.Wait()
			l.settle()
			want := l.visible()
			for i, f := range followers {
				f.apply(t, f.take())
				if diff := cmp.Diff(want, f.rows); diff != "" || len(f.gone) > 0 {
					t.Errorf("follower %d: %v; rows (-want +got):\n%s", i, f.gone, diff)
				}
			}
		})
	}
}

// write changes rows at random.
func (l *lab) write(random *rand.Rand, count int) {
	for i := range count {
		if i%50 == 49 {
			l.reinstall()
		}
		id := random.IntN(20)
		statement := fmt.Sprintf("UPDATE app.t SET body = 'u%d', shown = %v WHERE id = %d", i, random.IntN(3) > 0, id)
		switch random.IntN(4) {
		case 0:
			statement = fmt.Sprintf("INSERT INTO app.t VALUES (%d, 'i%d', %v)", id, i, random.IntN(3) > 0)
		case 1:
			statement = fmt.Sprintf("DELETE FROM app.t WHERE id IN (%d, %d)", id, id+1)
		}
		// A duplicate key is as good as anything else here.
		_, _ = l.engine.Execute(l.tb.Context(), exec.Request{SQL: statement, Session: callerOf("alice")})
	}
}

// reinstall does what a snapshot does.
func (l *lab) reinstall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.machines[shard.UserShard(0)].Restore(l.store); err != nil {
		l.tb.Error(err)
	}
}

// follow subscribes, stays for a while, and resumes from its cursor, until told to stop; the last subscription
// stays.
func (l *lab) follow(t *testing.T, f *follower, random *rand.Rand, stop <-chan struct{}) {
	t.Helper()
	for {
		request := Request{
			ID: "f", SQL: "SELECT id, body FROM app.t WHERE shown", Initial: &Initial{BatchSize: 1 + random.IntN(5)},
		}
		if f.last > 0 {
			request.Initial.From = new(f.last)
		}
		sub, err := l.service.Subscribe(t.Context(), callerOf("alice"), f, request)
		if err != nil {
			t.Error(err)
			return
		}
		if !l.begin(t, f, sub, random) {
			sub.Close()
			if t.Failed() {
				return
			}
			continue
		}
		select {
		case <-stop:
			return
		default:
		}
		for range random.IntN(5) {
			l.settle()
		}
		sub.Close()
		f.apply(t, f.take())
	}
}

// begin fetches the initial rows, sometimes not all of them.
func (l *lab) begin(t *testing.T, f *follower, sub *Subscription, random *rand.Rand) bool {
	t.Helper()
	for {
		batch, err := sub.NextBatch(t.Context())
		if err != nil {
			t.Error(err)
			return false
		}
		var rows []wireRow
		if err := json.Unmarshal(batch.Rows, &rows); err != nil {
			t.Error(err)
			return false
		}
		for _, row := range rows {
			f.put(row)
		}
		if !batch.HasMore {
			break
		}
		if random.IntN(10) == 0 && f.last > 0 {
			return false
		}
	}
	if err := sub.Follow(t.Context(), noPace); err != nil {
		t.Error(err)
		return false
	}
	return true
}

// visible is what a query gives.
func (l *lab) visible() map[string]string {
	l.tb.Helper()
	response, err := l.engine.Execute(l.tb.Context(), exec.Request{
		SQL: "SELECT id, body FROM app.t WHERE shown", Session: callerOf("alice"),
	})
	if err != nil {
		l.tb.Fatal(err)
	}
	rows := make(map[string]string)
	for _, row := range response.Results[0].Rows {
		rows[row[0].String()] = row[1].String()
	}
	return maps.Clone(rows)
}
