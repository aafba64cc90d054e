package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// clients is the workload of a run.
type clients struct {
	w       *world
	private uint64 // table of private rows
	shared  uint64 // table of shared rows
	group   shard.GroupID
	users   []string
	busy    bool // clients begin new requests
	serial  int
	live    liveTables
}

// gateway returns a node that takes requests, nil when there is none.
func (w *world) gateway() *simNode { return w.plan.pick(func(n *simNode) bool { return running(n) }) }

// request runs one request at some node.
func (a *actor) request(run func(*session)) {
	n := a.w.gateway()
	if n == nil {
		a.sleep(50 * time.Millisecond)
		return
	}
	a.serve(n, run)
}

// createTable makes a table and returns its id, zero when that is not known.
func (s *session) createTable(name string, kind schema.TableKind) uint64 {
	r := s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateTable{CreateTable: &commandv1.CreateTable{
		IfNotExists: true,
		Table: &commandv1.Table{
			Namespace: "default", Name: name, Kind: uint32(kind),
			Columns: []*commandv1.Column{{Id: 1, Name: "id", Type: &commandv1.Type{Kind: uint32(datum.Text)}, PrimaryKey: true}},
		},
	}}})
	if r.outcome != succeeded {
		return 0
	}
	return r.response.GetObjectId()
}

// setUp creates the tables of a workload.
func (c *clients) setUp(a *actor) {
	for c.private == 0 {
		a.request(func(s *session) { c.private = s.createTable("private", schema.KindUser) })
		a.pause()
	}
	for c.shared == 0 {
		a.request(func(s *session) { c.shared = s.createTable("shared", schema.KindShared) })
		a.pause()
	}
	c.group = c.w.shards.RouteTable(ident.TableID(c.shared))
	for i := range 4 {
		c.users = append(c.users, fmt.Sprintf("user%d", i))
	}
}

// begin starts the workload.
func (c *clients) begin() {
	c.busy, c.w.load = true, c
	for i := range 2 {
		c.w.spawn(fmt.Sprintf("counter%d", i), c.count)
	}
	c.w.spawn("register0", c.register)
	c.w.spawn("register1", c.register)
	c.w.spawn("notes", c.notes)
	c.w.spawn("everywhere", c.everywhere)
	c.w.spawn("bank", c.bank)
	c.w.spawn("tables", c.tables)
	c.w.spawn("follower0", c.follow)
	c.w.spawn("follower1", c.follow)
	c.beginLive()
	c.w.spawn("boss", c.boss)
	c.w.spawn("worker0", c.work)
	c.w.spawn("worker1", c.work)
	c.w.spawn("foreman", c.foreman)
	if c.w.opt.sql {
		c.bySQL()
	}
}

// someCell draws a row: one of a few, so that clients meet.
func (c *clients) someCell(kind string, most int) cell {
	rng := c.w.rng
	key := kind + strconv.Itoa(rng.IntN(most))
	if rng.IntN(3) == 0 {
		return cell{table: c.shared, group: c.group, key: key}
	}
	return c.privateCell(c.users[rng.IntN(len(c.users))], key)
}

func (c *clients) privateCell(user, key string) cell {
	return cell{table: c.private, group: c.w.shards.RouteUser(ident.UserID(user)), user: user, key: key}
}

// readAtOnce lets readers arrive at a node in the moment in which it wakes, before it has heard what it missed.
func (w *world) readAtOnce(n *simNode) {
	if w.load == nil || !w.load.busy || n.manager == nil {
		return
	}
	for range 8 {
		target := w.load.someCell([]string{"counter", "register"}[w.rng.IntN(2)], 2)
		w.spawn("early reader", func(a *actor) { a.serve(n, func(s *session) { s.read(target) }) })
	}
}

// rest is the time between two requests of a client.
func (a *actor) rest() { a.sleep(time.Duration(a.w.rng.IntN(40)) * stepTime) }

// count adds one to counters: it reads, and writes under the expectation that nothing came between; a
// conflict runs the statement again, as SQL does.
func (c *clients) count(a *actor) {
	for ; c.busy; a.rest() {
		target := c.someCell("counter", 2)
		a.request(func(s *session) { c.increment(s, target) })
	}
}

func (c *clients) increment(s *session, target cell) {
	counter := c.w.store.counters[target]
	if counter == nil {
		counter = &counterTruth{}
		c.w.store.counters[target] = counter
	}
	for range 10 {
		before := counter.acknowledged
		found, _, ok := s.read(target)
		if !ok {
			return
		}
		value := counterValue(found[0])
		if value < before {
			c.w.fail("counter %v is %d, but %d increments were acknowledged before", target, value, before)
		}
		row := target.write(strconv.Itoa(value+1), false, commandv1.Expect_EXPECT_SEQ, found[0].seq)
		if found[0].seq == 0 {
			row = target.write("1", false, commandv1.Expect_EXPECT_ABSENT, 0)
		}
		r := s.write([]cell{target}, []*commandv1.RowWrite{row})
		counter.requests = append(counter.requests, r.id)
		switch {
		case r.outcome == succeeded:
			counter.acknowledged++
			return
		case r.outcome != refused || r.kind != fault.Conflict && r.kind != fault.DuplicateKey:
			return
		}
	}
}

func counterValue(v version) int {
	_, text, _ := strings.Cut(v.value, "=")
	n, _ := strconv.Atoi(text) // a row that is not there counts as zero
	return n
}

// register writes values that nobody wrote before and reads rows at other nodes.
func (c *clients) register(a *actor) {
	for ; c.busy; a.rest() {
		target := c.someCell("register", 3)
		if c.w.rng.IntN(2) == 0 {
			a.request(func(s *session) { s.read(target) })
			continue
		}
		c.serial++
		text := strconv.Itoa(c.serial)
		a.request(func(s *session) {
			s.write([]cell{target}, []*commandv1.RowWrite{target.write(text, false, commandv1.Expect_EXPECT_ANY, 0)})
		})
	}
}

// notes inserts rows under new keys, deletes some, and looks whether they are there and stay away.
func (c *clients) notes(a *actor) {
	var kept []cell
	for ; c.busy; a.rest() {
		if len(kept) > 0 && c.w.rng.IntN(3) == 0 {
			target := kept[c.w.rng.IntN(len(kept))]
			a.request(func(s *session) { s.read(target) })
			continue
		}
		c.serial++
		target := c.someCell("note"+strconv.Itoa(c.serial)+".", 1)
		a.request(func(s *session) {
			r := s.write([]cell{target}, []*commandv1.RowWrite{target.write("here", false, commandv1.Expect_EXPECT_ABSENT, 0)})
			if r.outcome == refused {
				c.w.fail("the insert of %v, a new key, was refused: %v", target, r.err)
			}
		})
		kept = append(kept, target)
		if c.w.rng.IntN(2) == 0 {
			continue
		}
		a.rest()
		a.request(func(s *session) {
			found, _, ok := s.read(target)
			if !ok || found[0].seq == 0 {
				return
			}
			gone := target.write("here", true, commandv1.Expect_EXPECT_SEQ, found[0].seq)
			if r := s.write([]cell{target}, []*commandv1.RowWrite{gone}); r.outcome == refused && r.kind != fault.Conflict {
				c.w.fail("the deletion of %v was refused: %v", target, r.err)
			}
		})
	}
}

// bank moves money between the accounts of one user, two rows at once, and looks whether the sum stays.
func (c *clients) bank(a *actor) {
	const accounts, start = 4, 100
	user := c.users[0]
	cells := make([]cell, accounts)
	rows := make([]*commandv1.RowWrite, accounts)
	for i := range cells {
		cells[i] = c.privateCell(user, "account"+strconv.Itoa(i))
		rows[i] = cells[i].write(strconv.Itoa(start), false, commandv1.Expect_EXPECT_ABSENT, 0)
	}
	for open := false; c.busy && !open; a.pause() {
		a.request(func(s *session) {
			r := s.write(cells, rows)
			open = r.outcome == succeeded || r.outcome == refused && r.kind == fault.DuplicateKey
		})
	}
	for ; c.busy; a.rest() {
		a.request(func(s *session) {
			found, index, ok := s.read(cells...)
			if !ok {
				return
			}
			sum := 0
			for _, v := range found {
				sum += counterValue(v)
			}
			c.w.saw(ruleMoney)
			if sum != accounts*start {
				c.w.fail("node %d sees %d in all accounts at index %d, want %d: %+v", s.n.id, sum, index, accounts*start, found)
			}
			from, to := c.w.rng.IntN(accounts), c.w.rng.IntN(accounts)
			amount := c.w.rng.IntN(10)
			if from == to {
				return
			}
			move := []*commandv1.RowWrite{
				cells[from].write(strconv.Itoa(counterValue(found[from])-amount), false, commandv1.Expect_EXPECT_ANY, 0),
				cells[to].write(strconv.Itoa(counterValue(found[to])+amount), false, commandv1.Expect_EXPECT_ANY, 0),
			}
			s.write([]cell{cells[from], cells[to]}, move, &commandv1.ScopeUnchanged{TableId: c.private, User: user, Index: index})
		})
	}
}

// tables creates a table, writes into it through another node at once, and drops it.
func (c *clients) tables(a *actor) {
	for ; c.busy; a.rest() {
		c.serial++
		name := "t" + strconv.Itoa(c.serial)
		table := uint64(0)
		a.request(func(s *session) { table = s.createTable(name, schema.KindUser) })
		if table == 0 {
			continue
		}
		for range 3 {
			target := c.privateCell(c.users[c.w.rng.IntN(len(c.users))], "row")
			target.table = table
			a.request(func(s *session) { c.intoNewTable(s, name, target) })
		}
		a.rest()
		c.w.store.gone[table] = true
		a.request(func(s *session) {
			s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_DropTable{
				DropTable: &commandv1.DropTable{Namespace: "default", Name: name, IfExists: true},
			}})
		})
		// Every group has to forget the table: with many groups that would be most of the traffic.
		a.sleep(time.Duration(len(c.w.groups)) * 5 * stepTime)
	}
}

// intoNewTable is a statement on a table whose creation was acknowledged at another node.
func (c *clients) intoNewTable(s *session, name string, target cell) {
	if !s.barrier(shard.Meta) {
		return
	}
	c.w.saw(ruleNewTable)
	if _, there := s.n.catalog.Current().Table("default", name); !there {
		c.w.fail("node %d does not know table %s, whose creation was acknowledged", s.n.id, name)
	}
	r := s.write([]cell{target}, []*commandv1.RowWrite{target.write("new", false, commandv1.Expect_EXPECT_ANY, 0)})
	if r.outcome == refused {
		c.w.fail("a write to the new table %s was refused: %v", name, r.err)
	}
}
