package sim

import (
	"context"
	"errors"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// patience bounds one request, as cluster.replication_timeout does for a server.
const patience = 8 * time.Second

// session serves one request of an actor at one node: the real executor over parts that give way instead of
// waiting. It is the executor's proposer, its peers, its clock and its context.
type session struct {
	a        *actor
	n        *simNode
	life     int
	deadline time.Time
	unknowns int // attempts without an answer; the executor doubles the limit after each
	id       ident.RequestID
	proposed bool
	reads    bool          // it may have rows of the store open
	mode     executor.Mode // of what it writes for a user

	done  chan struct{}
	err   error
	after map[int]func()
	count int
}

// serve runs a request at a node. It ends with the node's life.
func (a *actor) serve(n *simNode, run func(*session)) {
	s := &session{
		a: a, n: n, life: n.life, deadline: a.w.clock.Now().Add(patience), done: make(chan struct{}),
	}
	a.at, a.s = n, s
	defer func() { a.at, a.s = nil, nil }()
	run(s)
	s.cancel(context.Canceled)
}

// executor is the real one. Its own patience runs on the machine's clock, so it is out of reach; the session's
// decides.
func (s *session) executor() executor.CommandExecutor {
	if _, single := s.n.manager.(alone); single {
		return executor.NewDirect(s, s, s.a.w.random, nil)
	}
	proposing := executor.NewRaft(s, s, s, s.a.w.random, time.Hour, executor.Modes{User: s.mode, Shared: s.mode}, nil)
	proposing.SetFormat(func() uint32 { return command.LogFormat }) // there are no nodes of another version
	return proposing
}

// outcome is what the client of a request knows about it.
type outcome uint8

const (
	succeeded outcome = iota + 1
	refused           // by the state machine; kind says why
	never             // not carried out, and never will be
	unknown           // nobody can say
)

// result is how a request ended.
type result struct {
	outcome  outcome
	kind     fault.Kind
	response *commandv1.Response
	err      error
	id       ident.RequestID
}

// execute replicates a command from this session's node.
func (s *session) execute(group shard.GroupID, cmd *commandv1.Command) result {
	return s.executeIn(s, group, cmd)
}

// executeIn is execute under a context that derives from the session.
func (s *session) executeIn(ctx context.Context, group shard.GroupID, cmd *commandv1.Command) result {
	w := s.a.w
	s.unknowns, s.id, s.proposed = 0, ident.RequestID{}, false
	response, err := s.executorOf(group).Execute(ctx, group, cmd)
	r := result{response: response, err: err, id: s.id, kind: fault.KindOf(err)}
	var known *fault.Error
	switch {
	case err == nil:
		r.outcome = succeeded
	case s.gone():
		r.outcome = unknown
	case response != nil && errors.As(err, &known) && known.Kind != fault.Timeout:
		// Also a refusal is a promise: the request has changed nothing.
		r.outcome = refused
		w.oracle.refused(s.id)
	case errors.As(err, &known) && (known.Kind == fault.Unavailable || known.Kind == fault.Overloaded || known.Kind == fault.DiskFull):
		r.outcome = never
		if s.proposed {
			w.oracle.refused(s.id)
		}
	default:
		r.outcome = unknown
	}
	w.stats.requests++
	if r.outcome == succeeded {
		w.stats.acknowledged++
		if w.oracle.of(s.n, group).missing(response.GetIndex()) {
			w.fail("a write to %s was acknowledged at %d, and no replica has applied that", group, response.GetIndex())
		}
	}
	return r
}

func (t *groupTruth) missing(index uint64) bool {
	at := index - t.base
	return at >= uint64(len(t.committed)) || len(t.committed[at]) == 0
}

// barrier waits until reads at this session's node are linearizable; false when it could not be had.
func (s *session) barrier(group shard.GroupID) bool {
	if s.a.w.mutant.skipBarrier(s, group) {
		return true
	}
	_, err := s.executorOf(group).Barrier(s, group)
	return err == nil && !s.gone()
}

// gone reports that the node's process, or its part in the cluster, has ended.
func (s *session) gone() bool { return !s.n.up || s.n.life != s.life || s.n.manager == nil }

// give gives way for one step; it reports false when the request is over.
func (s *session) give() bool {
	s.a.pause()
	switch {
	case s.gone():
		s.cancel(context.Canceled)
	case !s.a.w.clock.Now().Before(s.deadline):
		s.cancel(context.DeadlineExceeded)
	}
	return s.err == nil
}

// limit is the time one attempt may take; the executor's own, which runs on the machine's clock, is longer.
func (s *session) limit() time.Time {
	return s.a.w.clock.Now().Add(min(2*time.Second<<s.unknowns, patience))
}

func (s *session) attempt(a executor.Attempt) executor.Attempt {
	if a.Outcome == executor.Unknown {
		s.unknowns++
	}
	return s.a.w.mutant.attempt(a)
}

// Propose implements executor.Proposer.
func (s *session) Propose(_ context.Context, mode executor.Mode, group shard.GroupID, id ident.RequestID, data []byte) executor.Attempt {
	if s.gone() {
		return executor.Attempt{Outcome: executor.Stopped, Err: multiraft.ErrStopped}
	}
	return s.attempt(s.proposeAt(s.n, s.life, mode, group, id, data, s.limit()))
}

// proposeAt runs one attempt at a node, this session's or another.
func (s *session) proposeAt(
	n *simNode, life int, mode executor.Mode, group shard.GroupID, id ident.RequestID, data []byte, limit time.Time,
) executor.Attempt {
	s.id = id
	id, data = s.a.w.mutant.beforePropose(s, id, data)
	if mode == executor.All {
		return s.proposeAll(n, life, group, id, data)
	}
	submitted, err := n.manager.Submit(group, id, data)
	if err != nil {
		return attemptOf(nil, 0, err)
	}
	s.proposed = true
	if early, ok := s.a.w.mutant.acknowledge(n, group); ok {
		return early
	}
	for {
		if response, index, done, err := submitted.Poll(); done {
			return attemptOf(response, index, err)
		}
		if !s.give() || !s.a.w.clock.Now().Before(limit) || !n.up || n.life != life {
			if !s.a.w.mutant.unforgetful {
				submitted.Forget()
			}
			return executor.Attempt{Outcome: executor.Unknown, Err: multiraft.ErrOutcomeUnknown}
		}
	}
}

// attemptOf is how a server reads the engine's errors.
func attemptOf(response []byte, index uint64, err error) executor.Attempt {
	var notLeader *multiraft.NotLeaderError
	var behind *multiraft.BehindError
	var missing *multiraft.MissingVoterError
	switch {
	case errors.As(err, &behind):
		return executor.Attempt{Outcome: executor.Behind, Result: response, Index: index, Err: err}
	case errors.As(err, &missing):
		return executor.Attempt{Outcome: executor.Missing, Err: err}
	case err == nil:
		return executor.Attempt{Outcome: executor.Done, Result: response, Index: index}
	case errors.As(err, &notLeader):
		return executor.Attempt{Outcome: executor.NotLeader, Leader: notLeader.Leader, Err: err}
	case errors.Is(err, multiraft.ErrDiskFull):
		return executor.Attempt{Outcome: executor.DiskFull, Err: err}
	case errors.Is(err, multiraft.ErrOverloaded):
		return executor.Attempt{Outcome: executor.Overloaded, Err: err}
	case errors.Is(err, multiraft.ErrTooLarge):
		return executor.Attempt{Outcome: executor.TooLarge, Err: err}
	case errors.Is(err, multiraft.ErrStopped), errors.Is(err, multiraft.ErrUnknownGroup):
		return executor.Attempt{Outcome: executor.Stopped, Err: err}
	}
	return executor.Attempt{Outcome: executor.Unknown, Err: err}
}

// Forward implements executor.Peers: a call to another node, which can be lost on its way there or back.
func (s *session) Forward(
	_ context.Context, to ident.ReplicaID, mode executor.Mode, group shard.GroupID, id ident.RequestID, data []byte,
) executor.Attempt {
	w, limit := s.a.w, s.limit()
	s.id = id
	unreachable := executor.Attempt{Outcome: executor.Unreachable, Err: errors.New("nobody answers")}
	hang := func() executor.Attempt {
		for s.give() && w.clock.Now().Before(limit) {
		}
		return s.attempt(executor.Attempt{Outcome: executor.Unknown, Err: multiraft.ErrOutcomeUnknown})
	}
	addr, known := s.n.Address(to)
	peer := w.nodeAt(addr)
	if !known || peer == nil || peer == s.n || !peer.up || peer.self.Replica != to || w.isCut(s.n, peer) {
		s.give()
		return unreachable
	}
	if !s.travel() || w.plan.loseCall() || w.isCut(s.n, peer) {
		return hang()
	}
	life := peer.life
	for peer.paused {
		if !s.give() || !w.clock.Now().Before(limit) {
			return s.attempt(executor.Attempt{Outcome: executor.Unknown, Err: multiraft.ErrOutcomeUnknown})
		}
	}
	if !peer.up || peer.life != life || peer.manager == nil {
		return unreachable
	}
	answer := s.proposeAt(peer, life, mode, group, id, data, limit)
	if !s.travel() || w.plan.loseCall() || w.isCut(peer, s.n) {
		return hang()
	}
	return s.attempt(answer)
}

// travel takes the time of one way of a call.
func (s *session) travel() bool {
	arrive := s.a.w.clock.Now().Add(s.a.w.plan.delay())
	for s.a.w.clock.Now().Before(arrive) {
		if !s.give() {
			return false
		}
	}
	return true
}

// Barrier implements executor.Proposer.
func (s *session) Barrier(ctx context.Context, group shard.GroupID) (uint64, error) {
	if s.gone() {
		return 0, multiraft.ErrStopped
	}
	if single, ok := s.n.manager.(alone); ok {
		return single.Solo.Barrier(ctx, group)
	}
	reading, err := s.n.manager.BeginRead(group)
	if err != nil {
		return 0, err
	}
	for {
		if index, done, err := reading.Poll(); done {
			return index, err
		}
		if !s.give() {
			return 0, ctx.Err()
		}
	}
}

// Applied implements executor.Proposer.
func (s *session) Applied(group shard.GroupID) uint64 {
	if s.gone() {
		return 0
	}
	return s.n.manager.Applied(group)
}

// Self implements executor.Peers.
func (s *session) Self() ident.ReplicaID { return s.n.self.Replica }

// Leader implements executor.Peers.
func (s *session) Leader(group shard.GroupID) ident.ReplicaID {
	if s.gone() {
		return 0
	}
	return s.n.manager.Leader(group)
}

// Now implements clock.Clock.
func (s *session) Now() time.Time { return s.n.Now() }

// NewTimer implements clock.Clock. It gives way itself, and returns a timer that has fired unless the request
// is over.
func (s *session) NewTimer(d time.Duration) clock.Timer {
	fired := make(chan time.Time, 1)
	end := s.a.w.clock.Now().Add(d)
	for s.a.w.clock.Now().Before(end) {
		if !s.give() {
			return firedTimer(fired)
		}
	}
	if s.err == nil {
		fired <- s.Now()
	}
	return firedTimer(fired)
}

type firedTimer chan time.Time

func (t firedTimer) C() <-chan time.Time { return t }
func (firedTimer) Stop() bool            { return false }

// Deadline implements context.Context. It only says that there is one: what the executor derives from it runs
// on the machine's clock and must never decide anything.
func (s *session) Deadline() (time.Time, bool) { return time.Now().Add(24 * time.Hour), true }

// Done implements context.Context.
func (s *session) Done() <-chan struct{} { return s.done }

// Err implements context.Context.
func (s *session) Err() error { return s.err }

// Value implements context.Context.
func (s *session) Value(key any) any {
	if key == (sessionKey{}) {
		return s
	}
	return nil
}

// AfterFunc lets contexts derive from a session without a goroutine.
func (s *session) AfterFunc(run func()) func() bool {
	if s.after == nil {
		s.after = make(map[int]func())
	}
	s.count++
	key := s.count
	s.after[key] = run
	return func() bool {
		_, waiting := s.after[key]
		delete(s.after, key)
		return waiting
	}
}

func (s *session) cancel(why error) {
	if s.err != nil {
		return
	}
	s.err = why
	close(s.done)
	for _, run := range s.after {
		run()
	}
}
