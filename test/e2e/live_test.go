package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	kalam "github.com/kalamdb/kalamdb-go/client"
)

// sentinel is the id of the row that is written last.
const sentinel = "1000000"

// lastLarge is the id of the last row that is large.
const lastLarge = "5059"

// liveClient returns a client of package client that begins with one of the nodes.
func (c *cluster) liveClient(t *testing.T, first int) *kalam.Client {
	t.Helper()
	var urls []string
	for i := range c.nodes {
		urls = append(urls, c.nodes[(first+i)%len(c.nodes)].url())
	}
	made, err := kalam.New(kalam.Config{URLs: urls, User: "root", Password: rootPassword, Attempts: 200})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// watcher is a client that keeps the rows of a live query and the changes it was told.
type watcher struct {
	sql     string
	view    *kalam.View
	start   uint64   // cursor of the first initial rows
	seqs    []uint64 // of what came since
	ready   bool
	begun   chan struct{} // closed when the first initial rows are complete; nil when nobody asks
	resumed int           // connections after the first
	large   atomic.Bool   // the last of the large rows has come
}

// run reads until the last row is there.
func (w *watcher) run(ctx context.Context, live *kalam.Subscription, pause func(event int)) error {
	for n := 0; ; n++ {
		pause(n)
		event, err := live.Next(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", w.sql, err)
		}
		if event.Kind == kalam.Reset {
			return fmt.Errorf("%s: changes were lost", w.sql)
		}
		if err = w.view.Apply(event); err != nil {
			return fmt.Errorf("%s: %w", w.sql, err)
		}
		last := false
		note := func(row kalam.Row) {
			last = last || row["id"] == sentinel
			if row["id"] == lastLarge {
				w.large.Store(true)
			}
			if seq, _ := strconv.ParseUint(fmt.Sprint(row["_seq"]), 10, 64); w.ready {
				w.seqs = append(w.seqs, seq)
			}
		}
		switch event.Kind { //nolint:exhaustive // the others hold no rows
		case kalam.Ready:
			if w.ready {
				w.resumed++
			} else if w.start == 0 {
				w.start = event.Cursor
				if w.begun != nil {
					close(w.begun)
				}
			}
			w.ready = true
		case kalam.Delete:
			note(event.OldValues[0])
		case kalam.Rows, kalam.Insert, kalam.Update:
			for _, row := range event.Rows {
				note(row)
			}
		}
		if last && w.ready {
			return nil
		}
	}
}

// text is what the rows hold, by id.
func (w *watcher) text() map[string]string {
	rows := map[string]string{}
	for _, row := range w.view.Rows() {
		rows[fmt.Sprint(row["id"])] = fmt.Sprint(row["n"])
	}
	return rows
}

// liveWriter writes until it is told to stop; acknowledged counts what succeeded.
func liveWriter(ctx context.Context, t *testing.T, c *kalam.Client, number int, acknowledged *atomic.Int64) {
	t.Helper()
	for i := 0; ctx.Err() == nil; i++ {
		id := number*1000 + i%20
		var err error
		switch i % 5 {
		case 0:
			_, err = c.Exec(t.Context(), "INSERT INTO app.live VALUES ($1, $2, '') ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n", id, i)
		case 1, 2:
			_, err = c.Exec(t.Context(), "UPDATE app.live SET n = $1 WHERE id = $2", i, id-1)
		case 3:
			_, err = c.Exec(t.Context(), "DELETE FROM app.live WHERE id = $1", id-2)
		case 4:
			err = c.Transact(t.Context(), func(tx *kalam.Tx) error {
				_, first := tx.Exec(t.Context(), "UPDATE app.a SET n = n - $1 WHERE id = $2", i%7, number)
				_, second := tx.Exec(t.Context(), "UPDATE app.b SET n = n + $1 WHERE id = $2", i%7, number)
				return errors.Join(first, second)
			})
		}
		if err == nil {
			acknowledged.Add(1)
		} else if i%5 != 4 {
			t.Errorf("a change was not carried out: %v", err) // a transaction may be lost with its node
		}
	}
}

// TestLiveClientsSeeTheLog: clients follow live queries while the node that serves them is killed, each in turn, and while
// leaderships move; one of them reads slowly, and in the end a hundred come at once. Nobody is told anything twice, in another order,
// or not at all: what each was told is what the log holds, from where it began. Sums over two tables hold in every cut.
func TestLiveClientsSeeTheLog(t *testing.T) {
	c := startCluster(t, settings{"rate_limit.max_subscriptions_per_user": 0})
	before := goleak.IgnoreCurrent()
	root := c.liveTables(t)
	root.must(t, "INSERT INTO app.a VALUES (1, 100), (2, 100)")
	root.must(t, "INSERT INTO app.b VALUES (1, 100), (2, 100)")

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	watched := c.watch(ctx, t, 2, 1)
	stopCuts, cuts := c.watchCuts(ctx, t, &watched.reading)
	watched.write(ctx, t, liveWriter)
	watched.more(t, 50)
	for i, n := range c.nodes {
		n.kill(t)
		watched.more(t, 30)
		n.start(t)
		n.waitReady(t)
		root.at(n).soon(t, fmt.Sprintf("CLUSTER TRANSFER LEADER %d ON GROUP %d", (i+1)%3+1, sharedGroup))
		watched.more(t, 30)
	}
	watched.end(ctx, t, root, stopCuts)
	if t.Failed() {
		return
	}
	if *cuts < 3 {
		t.Errorf("%d cuts were taken, want one for each connection", *cuts)
	}
	c.compare(ctx, t, root, watched.watchers)
	c.storm(ctx, t, watched.watchers[2])
	if err := goleak.Find(before, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait")); err != nil {
		t.Error(err)
	}
}

// watchCuts follows two tables together; whatever money moves between them, each cut holds all of it.
func (c *cluster) watchCuts(ctx context.Context, t *testing.T, reading *sync.WaitGroup) (stop func(), cuts *int) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	live := c.liveClient(t, 1).SubscribeAll(
		kalam.Live{SQL: "SELECT * FROM app.a", BatchSize: 1}, kalam.Live{SQL: "SELECT * FROM app.b", BatchSize: 1},
		kalam.Live{SQL: "SELECT SUM(n) AS n FROM app.b"},
	)
	cuts = new(int)
	reading.Go(func() {
		defer live.Close()
		views := []*kalam.View{kalam.NewView("id"), kalam.NewView("id"), kalam.NewView()}
		for {
			event, err := live.Next(ctx)
			if ctx.Err() != nil {
				return
			}
			if err == nil && event.Kind != kalam.Cut {
				err = views[event.Query].Apply(event)
			}
			if err != nil {
				t.Error(err)
				return
			}
			if event.Kind != kalam.Cut {
				continue
			}
			*cuts++
			var sums [3]int64
			for i, view := range views {
				for _, row := range view.Rows() {
					n, _ := strconv.ParseInt(fmt.Sprint(row["n"]), 10, 64)
					sums[i] += n
				}
			}
			if sums[0]+sums[1] != 400 || sums[1] != sums[2] {
				t.Errorf("cut %d holds the sums %d", *cuts, sums)
			}
		}
	})
	return cancel, cuts
}

// compare is compareLog for watchers all of whom lost their node.
func (c *cluster) compare(ctx context.Context, t *testing.T, root *client, watchers []*watcher) {
	t.Helper()
	c.compareLog(ctx, t, root, watchers, 100)
	resumed := 0
	for _, w := range watchers {
		resumed += w.resumed
	}
	if resumed < len(watchers) {
		t.Errorf("%d clients resumed %d times: the kills hit nobody", len(watchers), resumed)
	}
}

// compareLog replays the log for each watcher, on a node that is not its first. Each must have been told of at least so many
// changes, or the run shows little.
func (c *cluster) compareLog(ctx context.Context, t *testing.T, root *client, watchers []*watcher, least int) {
	t.Helper()
	want := map[string]string{}
	for _, row := range root.soon(t, "SELECT id, n FROM app.live LIMIT 1000").rows() {
		want[fmt.Sprint(row[0])] = fmt.Sprint(row[1])
	}
	for i, w := range watchers {
		var log []uint64
		live := c.liveClient(t, i+1).Subscribe(kalam.Live{SQL: w.sql, From: &w.start})
		for {
			event, err := live.Next(ctx)
			if err != nil || event.Kind == kalam.Reset {
				t.Fatalf("replay from %d: %v, %v", w.start, event.Kind, err)
			}
			rows := event.Rows
			if len(rows) == 0 {
				rows = event.OldValues
			}
			done := false
			for _, row := range rows {
				seq, _ := strconv.ParseUint(fmt.Sprint(row["_seq"]), 10, 64)
				log = append(log, seq)
				done = done || row["id"] == sentinel
			}
			if done {
				break
			}
		}
		live.Close()
		if !slices.Equal(log, w.seqs) {
			t.Errorf("client %d was told %d changes, the log has %d since %d; (-log +told):\n%s",
				i, len(w.seqs), len(log), w.start, cmp.Diff(log, w.seqs))
		}
		if diff := cmp.Diff(want, w.text()); diff != "" && i%3 != 2 {
			t.Errorf("client %d has other rows (-want +got):\n%s", i, diff)
		}
		if len(w.seqs) < least {
			t.Errorf("client %d was told only %d changes", i, len(w.seqs))
		}
	}
}

// storm lets many clients come at once, from cursors of their own; each gets all that follows.
func (c *cluster) storm(ctx context.Context, t *testing.T, model *watcher) {
	t.Helper()
	var coming sync.WaitGroup
	for i := range 100 {
		at := i * (len(model.seqs) - 1) / 100
		coming.Go(func() {
			live := c.liveClient(t, i).Subscribe(kalam.Live{SQL: model.sql, From: &model.seqs[at]})
			defer live.Close()
			var got []uint64
			for len(got) < len(model.seqs)-at-1 {
				event, err := live.Next(ctx)
				if err != nil || event.Kind == kalam.Reset {
					t.Errorf("client %d of the storm: %v, %v", i, event.Kind, err)
					return
				}
				for _, row := range append(slices.Clone(event.Rows), onlyDeleted(event)...) {
					seq, _ := strconv.ParseUint(fmt.Sprint(row["_seq"]), 10, 64)
					got = append(got, seq)
				}
			}
			if !slices.Equal(got, model.seqs[at+1:]) {
				t.Errorf("client %d of the storm was told something else", i)
			}
		})
	}
	coming.Wait()
}

func onlyDeleted(event kalam.Event) []kalam.Row {
	if event.Kind == kalam.Delete {
		return event.OldValues
	}
	return nil
}
