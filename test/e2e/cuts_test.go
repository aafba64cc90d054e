package e2e

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kalam "github.com/kalamdb/kalamdb-go/client"
)

// cutTables are tables of several groups: shared ones and a private one.
var cutTables = []string{"s0", "s1", "s2", "s3", "s4", "s5", "mine"}

// cutLedger says up to which row the writer has acknowledgements, for each table.
type cutLedger [7]atomic.Int64

func (l *cutLedger) read() (now [7]int64) {
	for i := range l {
		now[i] = l[i].Load()
	}
	return now
}

// cutReader follows all tables together. Rows are numbered and written in order, so the next one that it is told of a
// table is always the one behind the last.
type cutReader struct {
	c      *cluster
	groups [7]int64
	told   [7]int64
	cursor [7]uint64
	cuts   int
}

// round subscribes, from the cursors if there are any, takes a cut, and goes on until a number of changes behind it.
func (r *cutReader) round(ctx context.Context, t *testing.T, first int, acknowledged *cutLedger, changes int64) error {
	t.Helper()
	var queries []kalam.Live
	for i, name := range cutTables {
		query := kalam.Live{SQL: "SELECT * FROM app." + name, BatchSize: 7}
		if r.cursor[i] > 0 {
			query.From = &r.cursor[i]
		}
		queries = append(queries, query)
	}
	before := acknowledged.read()
	live := r.c.liveClient(t, first).SubscribeAll(queries...)
	defer live.Close()
	for behind, cut := int64(0), false; !cut || behind < changes; {
		event, err := live.Next(ctx)
		if err != nil {
			return err
		}
		switch event.Kind { //nolint:exhaustive // the others are told apart by their rows
		case kalam.Cut:
			cut = true
			r.cuts++
			if err := r.judge(before); err != nil {
				return err
			}
		case kalam.Reset, kalam.Delete, kalam.Update:
			return fmt.Errorf("%s: %s", cutTables[event.Query], event.Kind)
		case kalam.Insert:
			if cut {
				behind++
			}
		}
		for _, row := range event.Rows {
			r.told[event.Query]++
			if got := fmt.Sprint(row["id"]); got != strconv.FormatInt(r.told[event.Query], 10) {
				return fmt.Errorf("%s: row %s, want %d", cutTables[event.Query], got, r.told[event.Query])
			}
		}
		if event.Cursor > 0 {
			r.cursor[event.Query] = event.Cursor
		}
	}
	return nil
}

// judge looks at a cut: it holds what was acknowledged before it was asked for, and tables of one group stand at one
// position: the writer goes through them in their order.
func (r *cutReader) judge(before [7]int64) error {
	var wrong error
	for i := range r.told {
		if r.told[i] < before[i] {
			wrong = errors.Join(wrong, fmt.Errorf("the cut has %d rows of %s, %d were acknowledged before", r.told[i], cutTables[i], before[i]))
		}
		for j := range i {
			if r.groups[i] == r.groups[j] && (r.told[i] > r.told[j] || r.told[i] < r.told[j]-1) {
				wrong = errors.Join(wrong, fmt.Errorf("the cut has %d rows of %s and %d of %s, which are of one group",
					r.told[j], cutTables[j], r.told[i], cutTables[i]))
			}
		}
	}
	return wrong
}

// TestCutsOverGroups: clients begin live queries on tables of several groups together, on every node, again and again, from
// the beginning and from cursors, while the groups' leaders move and a node is killed. Every cut holds all that was
// acknowledged before; tables of one group stand at one position; behind it comes every row once and in order.
func TestCutsOverGroups(t *testing.T) {
	c := startCluster(t, settings{"rate_limit.max_subscriptions_per_user": 0, "cluster.shared_shards": 3})
	root := c.nodes[0].root(t)
	root.soon(t, "CREATE NAMESPACE app")
	var groups [7]int64
	distinct := map[int64]int{}
	for i, name := range cutTables {
		kind := "SHARED"
		if name == "mine" {
			kind = "USER"
		}
		root.must(t, "CREATE TABLE app."+name+" (id BIGINT PRIMARY KEY) WITH (TYPE = '"+kind+"')")
		root.must(t, "INSERT INTO app."+name+" VALUES (1)")
		eventually(t, "the first row of "+name+" is on this node", func() error {
			digests, err := root.digests(t, name)
			for _, d := range digests {
				if d.rows > 0 {
					groups[i] = d.group
				}
			}
			if err == nil && groups[i] == 0 {
				err = errors.New("not yet")
			}
			return err
		})
		distinct[groups[i]]++
	}
	if len(distinct) < 3 || len(distinct) == len(cutTables) {
		t.Fatalf("the tables are in the groups %v", groups)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var acknowledged cutLedger
	for i := range acknowledged {
		acknowledged[i].Store(1)
	}
	writing, stopWriting := context.WithCancel(ctx)
	var working, reading sync.WaitGroup
	working.Go(func() { c.writeInOrder(writing, t, &acknowledged) })
	readers := make([]*cutReader, 3)
	for i := range readers {
		readers[i] = &cutReader{c: c, groups: groups}
		reading.Go(func() {
			for round := range 4 {
				if err := readers[i].round(ctx, t, i+round, &acknowledged, 10); err != nil {
					t.Errorf("client %d, round %d: %v", i, round, err)
					return
				}
			}
		})
	}
	working.Go(func() { c.moveLeaders(writing, t, root.at(c.nodes[0]), distinct, &acknowledged) })
	mark := acknowledged[0].Load()
	eventually(t, "rows are written", func() error {
		if acknowledged[0].Load() < mark+5 {
			return errors.New("not yet")
		}
		return nil
	})
	c.nodes[2].kill(t)
	c.nodes[2].start(t)
	reading.Wait()
	stopWriting()
	working.Wait()
	for i, r := range readers {
		if r.cuts < 4 && !t.Failed() {
			t.Errorf("client %d took %d cuts", i, r.cuts)
		}
	}
}

// writeInOrder writes one row after the other, each into one table after the other.
func (c *cluster) writeInOrder(ctx context.Context, t *testing.T, acknowledged *cutLedger) {
	t.Helper()
	writer := c.liveClient(t, 1)
	for id := int64(2); ; id++ {
		for i, name := range cutTables {
			if ctx.Err() != nil {
				return
			}
			if _, err := writer.Exec(t.Context(), "INSERT INTO app."+name+" VALUES ($1)", id); err != nil {
				t.Errorf("row %d of %s: %v", id, name, err)
				return
			}
			acknowledged[i].Store(id)
		}
	}
}

// moveLeaders hands the groups from node to node, each time when some more is written.
func (c *cluster) moveLeaders(ctx context.Context, t *testing.T, root *client, groups map[int64]int, acknowledged *cutLedger) {
	t.Helper()
	moved := 0
	for target := 0; ctx.Err() == nil; target++ {
		for group := range groups {
			statement := fmt.Sprintf("CLUSTER TRANSFER LEADER %d ON GROUP %d", target%len(c.nodes)+1, group)
			if got, err := root.sql(ctx, statement); err == nil && got.ok() {
				moved++
			}
		}
		for mark := acknowledged[0].Load(); ctx.Err() == nil && acknowledged[0].Load() < mark+3; {
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	if moved < 3 {
		t.Errorf("leaders moved %d times", moved)
	}
}
