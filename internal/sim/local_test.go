package sim

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	callers "github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// This file has the rows that are not replicated: a group of its own on every node, beside the others in the same log and store.

const (
	localRetain = 20                   // entries of its log that are kept
	localTTL    = 10 * 365 * 24 * 3600 // seconds; longer than clocks jump
	localRows   = 6
	// byReplica separates in a row which replica's it is from the rest.
	byReplica = 10
)

// work moves the engine, and beside it the one of the node's own rows.
func (n *simNode) work() error {
	if err := n.manager.Pump(); err != nil || !n.w.opt.local {
		return err
	}
	if n.local == nil {
		if !n.disk.answers() || n.disk.tight {
			return nil // a server would wait here, on a goroutine of its own
		}
		if err := n.openLocal(); err != nil {
			return err
		}
	}
	return n.local.Pump()
}

func (n *simNode) openLocal() error {
	origin := n.self.Replica
	if n.w.mutant.localOrigin {
		origin = 1
	}
	if err := multiraft.FoundLocal(n.store, n.log, shard.Local, origin); err != nil {
		return err
	}
	solo, err := multiraft.OpenSolo(multiraft.Config{
		Replica: origin, Groups: []shard.GroupID{shard.Local}, Engine: n.store, Log: n.log, Clock: n, Logger: n.w.logger(n),
		StateMachines: n.newMachine, StagingDir: stagingDir, RetainEntries: localRetain, RetainBytes: 1 << 20,
		MinFreeBytes: minFree, FreeBytes: n.disk.free, FreesSpace: command.FreesSpace,
	})
	if err == nil {
		n.local = solo
	}
	return err
}

// applied is the index up to which a node has applied a group.
func (n *simNode) applied(g shard.GroupID) uint64 {
	if g != shard.Local {
		return n.manager.Applied(g)
	}
	if n.local == nil {
		return 0
	}
	return n.local.Applied(g)
}

// of is what must stay true of a group, for a node's own rows of that node alone.
func (o *oracle) of(n *simNode, g shard.GroupID) *groupTruth {
	if g != shard.Local {
		return o.groups[g]
	}
	return o.local(n.self.Replica)
}

func (o *oracle) local(replica ident.ReplicaID) *groupTruth {
	truth := o.locals[replica]
	if truth == nil {
		truth = newTruthOf(shard.Local)
		base, err := command.LocalStart(replica)
		if err != nil {
			o.w.fail("replica %d: %v", replica, err)
		}
		truth.base = base
		o.locals[replica] = truth
	}
	return truth
}

// place is where an entry stands in its log. In that of a node's own rows its index says whose they are, and so does each row.
func (o *oracle) place(n *simNode, g shard.GroupID, truth *groupTruth, e *command.Entry) uint64 {
	if g != shard.Local {
		return e.Index
	}
	if e.Index <= truth.base || !command.SameOrigin(e.Index, truth.base) {
		o.w.fail("node %d, replica %d, applies %d of its own rows, which is another replica's", n.id, n.self.Replica, e.Index)
	}
	if cmd, err := command.Decode(e.Data); err == nil {
		for _, row := range cmd.GetWriteRows().GetRows() {
			o.w.saw(ruleLocal)
			if from := ident.ReplicaID(o.w.load.live.rows[string(row.GetRow())].n / byReplica); from != n.self.Replica {
				o.w.fail("node %d, replica %d, has a row that was written at replica %d", n.id, n.self.Replica, from)
			}
		}
	}
	return e.Index - truth.base
}

// judgeLocal compares a node's own rows with its log.
func (w *world) judgeLocal(n *simNode) {
	if !w.opt.local {
		return
	}
	truth, applied := w.oracle.of(n, shard.Local), n.applied(shard.Local)
	if end := truth.base + uint64(max(len(truth.committed), 1)) - 1; applied != end && len(truth.committed) > 0 {
		w.fail("the own rows of node %d end at %d, but it has applied up to %d", n.id, applied, end)
	}
	if difference, err := w.compareRows(n, truth.model); err != nil || difference != "" {
		w.fail("node %d, its own rows: %s %v", n.id, difference, err)
	}
}

// executorOf is the executor of a group.
func (s *session) executorOf(group shard.GroupID) executor.CommandExecutor {
	if group == shard.Local {
		return executor.NewDirect(localSession{s}, s, s.a.w.random, nil)
	}
	return s.executor()
}

// localSession is a session as the proposer of a node's own rows.
type localSession struct{ *session }

// engine is nil when the node's own rows are not served.
func (s localSession) engine() *multiraft.Solo {
	if s.gone() {
		return nil
	}
	return s.n.local
}

// Propose implements executor.Proposer.
func (s localSession) Propose(_ context.Context, _ executor.Mode, g shard.GroupID, id ident.RequestID, data []byte) executor.Attempt {
	solo := s.engine()
	if solo == nil {
		return executor.Attempt{Outcome: executor.Stopped, Err: multiraft.ErrStopped}
	}
	s.id = id
	submitted, err := solo.Submit(g, id, data)
	if err != nil {
		return attemptOf(nil, 0, err)
	}
	s.proposed = true
	if s.a.w.mutant.localEarly {
		index := s.n.log.Group(g).LastIndex() + 1
		raw, err := command.EncodeResponse(&commandv1.Response{Index: index, Affected: 1})
		if err != nil {
			s.a.w.fail("encode a response: %v", err)
		}
		return executor.Attempt{Outcome: executor.Done, Result: raw, Index: index}
	}
	limit := s.limit()
	for {
		if response, index, done, err := submitted.Poll(); done {
			return attemptOf(response, index, err)
		}
		if !s.give() || !s.a.w.clock.Now().Before(limit) || s.engine() != solo {
			submitted.Forget()
			return executor.Attempt{Outcome: executor.Unknown, Err: multiraft.ErrOutcomeUnknown}
		}
	}
}

// Barrier implements executor.Proposer.
func (s localSession) Barrier(ctx context.Context, g shard.GroupID) (uint64, error) {
	solo := s.engine()
	if solo == nil {
		return 0, multiraft.ErrStopped
	}
	return solo.Barrier(ctx, g)
}

// Applied implements executor.Proposer, as a server does: commands name what this node knows of meta.
func (s localSession) Applied(g shard.GroupID) uint64 {
	if g == shard.Meta {
		return s.n.catalog.Index()
	}
	if s.engine() == nil {
		return 0
	}
	return s.n.applied(g)
}

// beginLocal makes a table whose rows are not replicated, and starts those who write, read and follow.
func (c *clients) beginLocal(a *actor) {
	if !c.w.opt.local {
		return
	}
	c.insist(a, func() bool { return c.live.here > 0 }, func(s *session) { c.live.here = s.createLocalTable() })
	if !c.busy {
		return
	}
	for i := range 2 {
		c.w.spawn("own rows "+strconv.Itoa(i), func(a *actor) {
			for ; c.busy; a.rest() {
				a.request(c.useHere)
			}
		})
		q := liveQuery{local: true, caller: i, sql: `SELECT * FROM "default".here`, sees: func(liveRow) bool { return true }}
		c.w.spawn("watcher of own rows "+strconv.Itoa(i), func(a *actor) { c.watch(a, q) })
	}
}

func (s *session) createLocalTable() uint64 {
	column := func(id uint32, name string, kind datum.Kind, key bool) *commandv1.Column {
		return &commandv1.Column{Id: id, Name: name, Type: &commandv1.Type{Kind: uint32(kind)}, PrimaryKey: key}
	}
	r := s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateTable{CreateTable: &commandv1.CreateTable{
		IfNotExists: true,
		Table: &commandv1.Table{
			Namespace: "default", Name: "here", Kind: uint32(schema.KindStream), Access: uint32(schema.AccessPublic),
			Options: map[string]string{schema.TTLOption: strconv.Itoa(localTTL), schema.NodeLocalOption: "true"},
			Columns: []*commandv1.Column{column(1, "id", datum.Text, true), column(2, "room", datum.Text, false), column(3, "n", datum.BigInt, false)},
		},
	}}})
	if r.outcome != succeeded {
		return 0
	}
	return r.response.GetObjectId()
}

// useHere writes, deletes and reads rows of one node.
func (c *clients) useHere(s *session) {
	rng := c.w.rng
	if s.n.local == nil || !s.barrier(shard.Meta) || s.n.local == nil {
		return
	}
	found, ok := s.n.catalog.Current().TableByID(ident.TableID(c.live.here))
	if !ok {
		c.w.fail("node %d does not know table %d, whose creation was acknowledged", s.n.id, c.live.here)
	}
	var cells []cell
	var rows []*commandv1.RowWrite
	user := c.liveUsers()[rng.IntN(2)]
	for _, key := range rng.Perm(localRows)[:1+rng.IntN(3)] {
		row := liveRow{"row" + strconv.Itoa(key), string(rune('a' + rng.IntN(3))), int(s.n.self.Replica)*byReplica + rng.IntN(byReplica)}
		until := c.w.clock.Now().Add(localTTL * time.Second).UnixMicro()
		encoded := schema.AppendExpiringRow(nil, found, []datum.Datum{datum.NewText(row.id), datum.NewText(row.room), datum.NewBigInt(int64(row.n))}, until)
		c.live.rows[string(encoded)] = row
		one := cell{
			table: c.live.here, group: shard.Local, user: user, key: string(datum.AppendKey(nil, datum.NewText(row.id))), at: s.n.self.Replica,
		}
		write := &commandv1.RowWrite{TableId: one.table, User: user, PrimaryKey: []byte(one.key), Row: encoded}
		if there := c.w.get(s.n.store, one); rng.IntN(4) == 0 && there.seq > 0 && !there.deleted {
			write.Deleted, write.Expect, write.ExpectSeq = true, commandv1.Expect_EXPECT_SEQ, there.seq
		}
		cells, rows = append(cells, one), append(rows, write)
	}
	if rng.IntN(3) == 0 {
		s.read(cells...)
		return
	}
	s.write(cells, rows)
}

func (w *watcher) session() callers.Session {
	return callers.Session{User: w.caller, Role: callers.RoleUser, Namespace: "default"}
}

// settle makes a follower of own rows one of the node of a session; false when it is none. Its cursor of another node must be refused there.
func (w *watcher) settle(s *session) bool {
	if s.n.local == nil {
		return false
	}
	if w.replica != 0 && w.replica != s.n.self.Replica && w.cursor > 0 {
		_, err := s.n.live.serve().Subscribe(s, w.session(), w, live.Request{
			ID: "w", SQL: w.q.sql, Initial: &live.Initial{BatchSize: 1, From: &w.cursor},
		})
		var known *live.Error
		switch {
		case s.gone() || s.err != nil:
			return false
		case err == nil:
			w.fail("node %d, replica %d, takes a cursor of replica %d", s.n.id, s.n.self.Replica, w.replica)
		case !errors.As(err, &known) || known.Code != live.CodeCursorTooOld:
			w.refused(s, err)
			return false
		}
		w.c.w.saw(ruleLocalCursor)
	}
	if w.replica != s.n.self.Replica {
		w.forget()
		w.replica, w.state = s.n.self.Replica, logState{}
	}
	return true
}

// localMutants are bugs of rows that are not replicated.
func localMutants() []mutant {
	return []mutant{
		{name: "own rows of all nodes are numbered alike", tag: "share_local_numbers", seed: 10009, localOrigin: true},
		{name: "a write of own rows is answered before it is in the log", tag: "answer_local_early", seed: 10009, localEarly: true},
	}
}
