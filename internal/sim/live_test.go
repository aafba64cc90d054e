package sim

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	callers "github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// livePart is what one life of a node has for live queries: the real feed and the real service, moved by the driver.
type livePart struct {
	n         *simNode
	feed      *changefeed.Feed
	publisher applier.Publisher
	service   *live.Service // nil until somebody asks
}

func newLivePart(n *simNode) *livePart {
	p := &livePart{n: n, feed: changefeed.New(changefeed.Config{MaxChanges: []int{2, 1000}[n.w.seed%2]})}
	p.publisher = n.w.mutant.publisher(n, p.feed)
	return p
}

// serve returns the service of a member.
func (p *livePart) serve() *live.Service {
	if p.service == nil {
		var err error
		p.service, err = live.New(live.Config{
			Catalog: p.n.catalog, Store: p.n.store, Barrier: liveBarrier{}, Feed: p.feed, Clock: p.n, Engine: noResults{},
			Logger: slog.New(slog.DiscardHandler), Driven: true,
		})
		if err != nil {
			p.n.w.fail("live queries of node %d: %v", p.n.id, err)
		}
	}
	return p.service
}

func (p *livePart) step() {
	if p.service != nil {
		p.service.Step()
	}
}

func (p *livePart) close() {
	if p.service != nil {
		p.service.Close()
	}
}

// liveBarrier is the barrier of the session that asks.
type liveBarrier struct{}

// Barrier implements live.Barrier.
func (liveBarrier) Barrier(ctx context.Context, group shard.GroupID) (uint64, error) {
	s, ok := ctx.(*session)
	if !ok {
		return 0, errors.New("a live query without a session")
	}
	if s.a.w.mutant.blindLive(s) || s.a.w.mutant.skipBarrier(s, group) {
		return 0, nil
	}
	return s.executorOf(group).Barrier(s, group)
}

// noResults stands for queries whose result is kept: they run on goroutines, and nobody asks for them here.
type noResults struct{}

// Look implements live.Engine.
func (noResults) Look(context.Context, callers.Session, *parse.Query, *storage.Snapshot, int) (exec.Result, error) {
	return exec.Result{}, fault.New(fault.Unsupported, "results are kept on goroutines")
}

// liveRow is a row of the tables that live queries follow.
type liveRow struct {
	id, room string
	n        int
}

// liveTables are two tables with real rows, a shared and a private one. Rows are known by their bytes, so that nobody
// here has to decode what the server decodes.
type liveTables struct {
	shared, private uint64
	here            uint64    // whose rows are not replicated; zero when there is none
	users           [2]string // whose rows are in the private one
	rows            map[string]liveRow
	retained        map[shard.GroupID]uint64 // changes that are kept at least; none is the default
}

// dropped reports whether a group may have dropped changes behind a cursor.
func (w *world) dropped(group shard.GroupID, cursor uint64) bool {
	kept, told := w.load.live.retained[group]
	if !told {
		return false
	}
	behind := uint64(0)
	for _, c := range w.oracle.groups[group].model.changes {
		if c.seq > cursor {
			behind++
		}
	}
	return behind > kept
}

const liveUser = "user0"

// liveUsers are those who have rows in the private table: under the same keys, in the same group, and alike.
func (c *clients) liveUsers() [2]string {
	for i := 1; c.live.users[1] == ""; i++ {
		if other := "user" + strconv.Itoa(i); c.w.shards.RouteUser(ident.UserID(other)) == c.w.shards.RouteUser(liveUser) {
			c.live.users = [2]string{liveUser, other}
		}
	}
	return c.live.users
}

func isLiveUser(c *clients, user string) bool {
	users := c.liveUsers()
	return slices.Contains(users[:], user)
}

// beginLive starts those who write to the tables and those who follow.
func (c *clients) beginLive() {
	c.live.rows, c.live.retained = make(map[string]liveRow), make(map[shard.GroupID]uint64)
	c.w.spawn("live tables", func(a *actor) {
		c.setUpLiveTables(a)
		if !c.busy {
			return
		}
		c.retainLittle(a)
		for i := range 2 {
			c.w.spawn("live writer"+strconv.Itoa(i), c.writeLive)
		}
		c.beginLocal(a)
		for i, q := range liveQueries() {
			c.w.spawn("watcher"+strconv.Itoa(i), func(a *actor) { c.watch(a, q) })
		}
	})
}

// insist repeats a request until it is done.
func (c *clients) insist(a *actor, done func() bool, try func(s *session)) {
	for c.busy && !done() {
		a.request(try)
		a.pause()
	}
}

// setUpLiveTables makes the tables and the users.
func (c *clients) setUpLiveTables(a *actor) {
	until := func(done func() bool, try func(s *session)) { c.insist(a, done, try) }
	until(func() bool { return c.live.shared > 0 }, func(s *session) { c.live.shared = s.createLiveTable("rooms", schema.KindShared) })
	until(func() bool { return c.live.private > 0 }, func(s *session) { c.live.private = s.createLiveTable("mine", schema.KindUser) })
	for _, user := range c.liveUsers() {
		known := false
		until(func() bool { return known }, func(s *session) {
			r := s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateUser{CreateUser: &commandv1.CreateUser{
				User: &commandv1.User{Id: user, PasswordHash: "h", Role: uint32(callers.RoleUser)}, IfNotExists: true,
			}}})
			known = r.outcome == succeeded
		})
	}
}

// retainLittle lets some clusters keep few changes. A group that drops some drops a few more than it has to.
func (c *clients) retainLittle(a *actor) {
	if c.w.rng.IntN(2) == 0 {
		return
	}
	for _, group := range []shard.GroupID{c.w.shards.RouteTable(ident.TableID(c.live.shared)), c.w.shards.RouteUser(liveUser)} {
		kept := uint64(5 + c.w.rng.IntN(60))
		c.live.retained[group] = kept / 2
		told := false
		c.insist(a, func() bool { return told }, func(s *session) {
			r := s.execute(group, &commandv1.Command{Body: &commandv1.Command_RetainChanges{RetainChanges: &commandv1.RetainChanges{
				Entries: kept, Bytes: 1 << 20, AgeMicros: int64(365 * 24 * time.Hour / time.Microsecond),
			}}})
			told = r.outcome == succeeded
		})
	}
}

func (s *session) createLiveTable(name string, kind schema.TableKind) uint64 {
	column := func(id uint32, name string, kind datum.Kind, key bool) *commandv1.Column {
		return &commandv1.Column{Id: id, Name: name, Type: &commandv1.Type{Kind: uint32(kind)}, PrimaryKey: key}
	}
	r := s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateTable{CreateTable: &commandv1.CreateTable{
		IfNotExists: true,
		Table: &commandv1.Table{
			Namespace: "default", Name: name, Kind: uint32(kind), Access: uint32(schema.AccessPublic),
			Columns: []*commandv1.Column{column(1, "id", datum.Text, true), column(2, "room", datum.Text, false), column(3, "n", datum.BigInt, false)},
		},
	}}})
	if r.outcome != succeeded {
		return 0
	}
	return r.response.GetObjectId()
}

// writeLive is the loop of a writer.
func (c *clients) writeLive(a *actor) {
	for ; c.busy; a.rest() {
		private := c.w.rng.IntN(2) == 0
		a.request(func(s *session) { c.writeRooms(s, private) })
	}
}

// writeRooms writes, changes and deletes rows, one to three in one command, so that rows enter and leave conditions.
func (c *clients) writeRooms(s *session, private bool) {
	rng := c.w.rng
	target := cell{table: c.live.shared, group: c.w.shards.RouteTable(ident.TableID(c.live.shared))}
	if private {
		target = c.privateCell(c.liveUsers()[rng.IntN(2)], "")
		target.table = c.live.private
	}
	if !s.barrier(shard.Meta) {
		return
	}
	found, ok := s.n.catalog.Current().TableByID(ident.TableID(target.table))
	if !ok {
		c.w.fail("node %d does not know table %d, whose creation was acknowledged", s.n.id, target.table)
	}
	var cells []cell
	var rows []*commandv1.RowWrite
	for _, key := range rng.Perm(8)[:1+rng.IntN(3)] {
		row := liveRow{"row" + strconv.Itoa(key), string(rune('a' + rng.IntN(3))), rng.IntN(10)}
		encoded := schema.EncodeRow(found, []datum.Datum{datum.NewText(row.id), datum.NewText(row.room), datum.NewBigInt(int64(row.n))})
		c.live.rows[string(encoded)] = row
		one := target
		one.key = string(datum.AppendKey(nil, datum.NewText(row.id)))
		write := &commandv1.RowWrite{TableId: one.table, User: one.user, PrimaryKey: []byte(one.key), Row: encoded}
		if there := c.w.get(s.n.store, one); rng.IntN(4) == 0 && there.seq > 0 && !there.deleted {
			// As SQL does, it deletes what it has found, or conflicts.
			write.Deleted, write.Expect, write.ExpectSeq = true, commandv1.Expect_EXPECT_SEQ, there.seq
		}
		cells, rows = append(cells, one), append(rows, write)
	}
	s.write(cells, rows)
}
