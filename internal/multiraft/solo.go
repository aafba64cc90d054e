package multiraft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Solo runs all groups of a node that is alone: commands are appended to the same log, synced, and applied
// through the same loop as in a cluster, without consensus. Everything in the log counts as committed. The
// directory can be opened by Open later, as a cluster of one voter.
//
// Beside a Manager it runs the groups that this node has for itself. Without the meta group among them, entries that wait for it are
// tried again with every tick.
type Solo struct {
	cfg      Config
	apply    *applyLoop
	replicas map[shard.GroupID]*replica
	order    []*replica
	next     map[shard.GroupID]uint64 // owned by commit: index of the next entry
	opened   map[shard.GroupID]uint64 // the end of the log as it was found
	hard     map[shard.GroupID]raftlog.HardState
	durable  *durability
	room     *room
	held     *soloBatch // owned by commit: what the log had no room for

	mu     sync.Mutex // guards queue
	queue  []soloProposal
	wake   chan struct{}
	failed chan struct{}

	failOnce sync.Once
	failure  error // set before failed is closed
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// soloBatch is what one commit appends and then applies.
type soloBatch struct {
	updates []raftlog.Update
	tasks   []*applyTask
}

type soloProposal struct {
	replica *replica
	data    []byte // sealed envelope
}

// OpenSolo loads every group and applies what the log holds. It refuses a directory whose groups have other
// voters: such a node must run in its cluster.
func OpenSolo(cfg Config) (*Solo, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Solo{
		cfg: cfg, replicas: make(map[shard.GroupID]*replica), next: make(map[shard.GroupID]uint64),
		opened: make(map[shard.GroupID]uint64),
		room:   newRoom(&cfg), hard: make(map[shard.GroupID]raftlog.HardState), wake: make(chan struct{}, 1), failed: make(chan struct{}),
	}
	var tasks []*applyTask
	for i, id := range cfg.Groups {
		r := newReplica(id, cfg.StateMachines(id))
		if i == 0 {
			s.apply = newApplyLoop(cfg.Engine, r)
		}
		task, err := s.open(r)
		if err != nil {
			return nil, err
		}
		if task != nil {
			tasks = append(tasks, task)
		}
		s.replicas[id] = r
		s.order = append(s.order, r)
	}
	s.durable = newDurability(cfg.Engine, cfg.Groups)
	s.apply.push(tasks)
	if err := s.applyAll(); err != nil {
		return nil, err
	}
	return s, nil
}

// open loads one group and returns what its log holds beyond its state.
func (s *Solo) open(r *replica) (*applyTask, error) {
	if err := r.load(s.cfg.Engine); err != nil {
		return nil, err
	}
	log := s.cfg.Log.Group(r.id)
	if err := reconcileLog(s.cfg.Log, log, r); err != nil {
		return nil, err
	}
	s.hard[r.id] = log.HardState()
	s.opened[r.id] = log.LastIndex()
	s.next[r.id] = log.LastIndex() + 1
	var entries []*raftpb.Entry
	if log.LastIndex() > r.state.Index {
		var err error
		if entries, err = log.Entries(r.state.Index+1, log.LastIndex()+1, ^uint64(0)); err != nil {
			return nil, fmt.Errorf("read the log of %s: %w", r.id, err)
		}
	}
	if err := s.checkAlone(r, entries); err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, nil
	}
	return s.task(r, entries), nil
}

// checkAlone refuses a group that has, or ever had since the stored state, another voter: then the end of
// its log is not committed by being there.
func (s *Solo) checkAlone(r *replica, entries []*raftpb.Entry) error {
	conf := r.state.Conf
	for i := -1; i < len(entries); i++ {
		if i >= 0 {
			if entries[i].GetType() == raftpb.EntryNormal {
				continue
			}
			change, err := decodeConfChange(entries[i])
			if err != nil {
				return err
			}
			if next, ok := nextConf(conf, change); ok {
				conf = next
			}
		}
		voters := conf.GetVoters()
		if len(voters) != 1 || voters[0] != uint64(s.cfg.Replica) || isJoint(conf) {
			return fmt.Errorf("%s has the voters %v: this node is a member of a cluster and cannot run alone; "+
				"configure [cluster]", r.id, voters)
		}
	}
	return nil
}

func (s *Solo) task(r *replica, entries []*raftpb.Entry) *applyTask {
	return &applyTask{
		replica: r, entries: entries,
		done:       func() {},
		configured: func(*raftpb.ConfChangeV2, *raftpb.ConfState) {},
	}
}

// Propose appends a command and returns its result once it is durable and applied. Errors: ErrUnknownGroup,
// ErrOverloaded, ErrDiskFull, ErrTooLarge and ErrStopped (nothing was appended), ErrOutcomeUnknown when the context ends first.
func (s *Solo) Propose(ctx context.Context, id shard.GroupID, request ident.RequestID, data []byte) ([]byte, uint64, error) {
	r, w, err := s.queueUp(id, request, data)
	if err != nil {
		return nil, 0, err
	}
	return r.await(ctx, w)
}

// queueUp registers a proposal for the next commit, or says why not.
func (s *Solo) queueUp(id shard.GroupID, request ident.RequestID, data []byte) (*replica, *waiter, error) {
	r := s.replicas[id]
	switch {
	case r == nil:
		return nil, nil, fmt.Errorf("%w: %s", ErrUnknownGroup, id)
	case len(data) > s.cfg.MaxProposal:
		return nil, nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), s.cfg.MaxProposal)
	}
	if err := s.room.admits(data); err != nil {
		return nil, nil, err
	}
	w, err := r.register(request, len(data), &s.cfg)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	s.queue = append(s.queue, soloProposal{replica: r, data: sealEnvelope(nil, request, data)})
	s.mu.Unlock()
	signal(s.wake)
	return r, w, nil
}

// Barrier returns the applied index: whatever was acknowledged was applied before. After a start it may have to wait for what
// was acknowledged before.
func (s *Solo) Barrier(ctx context.Context, id shard.GroupID) (uint64, error) {
	r := s.replicas[id]
	if r == nil {
		return 0, fmt.Errorf("%w: %s", ErrUnknownGroup, id)
	}
	if err := r.waitApplied(ctx, s.opened[id]); err != nil {
		return 0, err
	}
	return r.visible.Load(), nil
}

// Applied returns the index up to which readers see the group.
func (s *Solo) Applied(id shard.GroupID) uint64 { return appliedIndex(s.replicas, id) }

// commit appends what is queued with one sync and applies it. It reports whether there was anything.
func (s *Solo) commit() (bool, error) {
	if s.held != nil {
		return s.write(s.held)
	}
	s.mu.Lock()
	queue := s.queue
	s.queue = nil
	s.mu.Unlock()
	if len(queue) == 0 {
		return false, nil
	}
	var touched []*replica
	entries := make(map[shard.GroupID][]*raftpb.Entry)
	for _, p := range queue {
		id := p.replica.id
		if entries[id] == nil {
			touched = append(touched, p.replica)
		}
		hard := s.hard[id]
		entries[id] = append(entries[id], &raftpb.Entry{
			Term: new(hard.Term), Index: new(s.next[id]), Type: raftpb.EntryNormal.Enum(), Data: p.data,
		})
		s.next[id]++
	}
	updates := make([]raftlog.Update, len(touched))
	tasks := make([]*applyTask, len(touched))
	for i, r := range touched {
		hard := s.hard[r.id]
		hard.Commit = s.next[r.id] - 1
		s.hard[r.id] = hard
		updates[i] = raftlog.Update{Group: r.id, Hard: &hard, Entries: entries[r.id]}
		tasks[i] = s.task(r, entries[r.id])
	}
	return s.write(&soloBatch{updates: updates, tasks: tasks})
}

// write makes a batch durable and applies it. When the log has no room for it, it is held and written before any other:
// its places in the log are taken.
func (s *Solo) write(b *soloBatch) (bool, error) {
	err := s.cfg.Log.Append(b.updates, true)
	if errors.Is(err, raftlog.ErrNoSpare) {
		if s.held == nil {
			s.cfg.Logger.Error("the log has no room: writes wait until there is some", slog.Any("error", err))
		}
		s.held = b
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("append to the log: %w", err)
	}
	s.held = nil
	s.apply.push(b.tasks)
	return true, s.applyAll()
}

func (s *Solo) applyAll() error {
	for {
		worked, err := s.apply.pass()
		if err != nil {
			return err
		}
		if !worked {
			return nil
		}
	}
}
