package multiraft

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// applyTask is committed work of one group, in log order: entries, or a snapshot to install.
type applyTask struct {
	replica *replica
	entries []*raftpb.Entry
	// staged is a received snapshot that replaces the group's state; entries is then empty.
	staged stagedState
	// done is called from the apply loop once the task's effects are in the store.
	done func()
	// configured is called, before done, for every configuration change among the entries.
	configured func(change *raftpb.ConfChangeV2, conf *raftpb.ConfState)
}

// stagedState is a snapshot whose files are complete and verified beside the store.
type stagedState interface {
	// Install replaces the group's keys, atomically and durably.
	Install() error
	// Discard removes the files.
	Discard() error
}

// applyLoop turns committed entries into state. One pass writes one storage batch for all groups that have
// work. Tasks are bounded by Raft: a group hands out at most maxCommittedPerReady bytes before it hears
// that they are done.
type applyLoop struct {
	engine *storage.Engine
	meta   *replica

	mu    sync.Mutex // guards queue
	queue []*applyTask
	wake  chan struct{} // has room for one signal

	observe func(entries int) // told after each batch; may be nil
	passes  atomic.Uint64     // beginnings and ends of passes with work: odd while one runs

	active  []*replica // owned by pass: replicas with pending tasks, oldest first
	spare   []resolved // owned by tell
	encoded []byte     // owned by stageReplica
}

// applied is what one pass did to one replica, to be told after the commit.
type applied struct {
	replica *replica
	entries []command.Entry // commands, of which a log entry may hold several
	results [][]byte
	logged  int // log entries
	state   AppliedState
	changes []confChanged
}

// confChanged is one configuration change and the configuration it led to.
type confChanged struct {
	task   *applyTask
	change *raftpb.ConfChangeV2
	conf   *raftpb.ConfState
}

func newApplyLoop(engine *storage.Engine, meta *replica) *applyLoop {
	return &applyLoop{engine: engine, meta: meta, wake: make(chan struct{}, 1)}
}

// push queues tasks; tasks of one group keep their order.
func (a *applyLoop) push(tasks []*applyTask) {
	if len(tasks) == 0 {
		return
	}
	a.mu.Lock()
	a.queue = append(a.queue, tasks...)
	a.mu.Unlock()
	signal(a.wake)
}

// signal wakes the receiver of a one-slot channel; a second signal before it looks is the same signal.
func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// pass applies what is queued and reports whether anything changed. Work that waits for the meta group
// stays pending; since applying meta can free it, callers repeat until a pass does nothing.
func (a *applyLoop) pass() (worked bool, err error) {
	a.accept()
	if len(a.active) == 0 {
		return false, nil // not even a batch is needed
	}
	a.passes.Add(1)
	defer a.passes.Add(1)
	installed, err := a.installSnapshots()
	if err != nil {
		return false, err
	}
	batch := a.engine.NewBatch()
	defer func() { err = errors.Join(err, batch.Close()) }()
	staged, err := a.stage(batch)
	if err != nil {
		return false, err
	}
	if len(staged) == 0 {
		return installed, nil
	}
	// gofail: var applyCommit struct{}
	if err = a.engine.Commit(batch); err != nil {
		return false, fmt.Errorf("commit applied entries: %w", err)
	}
	// gofail: var applyCommitted struct{}
	entries := 0
	for i := range staged {
		a.tell(&staged[i])
		entries += len(staged[i].entries)
	}
	if a.observe != nil {
		a.observe(entries)
	}
	return true, nil
}

// accept moves queued tasks to their replicas.
func (a *applyLoop) accept() {
	a.mu.Lock()
	queue := a.queue
	a.queue = nil
	a.mu.Unlock()
	for _, task := range queue {
		r := task.replica
		if len(r.pending) == 0 {
			a.active = append(a.active, r)
		}
		r.pending = append(r.pending, task)
	}
}

// installSnapshots installs the newest snapshot of every replica that has one pending. It supersedes
// everything queued before it, also entries that wait for the meta group.
func (a *applyLoop) installSnapshots() (bool, error) {
	installed := false
	for _, r := range a.active {
		at := -1
		for i, task := range r.pending {
			if task.staged != nil {
				at = i
			}
		}
		if at < 0 {
			continue
		}
		for _, task := range r.pending[:at] {
			if task.staged != nil {
				if err := task.staged.Discard(); err != nil {
					return false, fmt.Errorf("discard superseded snapshot of %s: %w", r.id, err)
				}
			}
			task.done()
		}
		task := r.pending[at]
		r.pending = r.pending[at+1:]
		if err := a.install(r, task); err != nil {
			return false, err
		}
		installed = true
	}
	a.retire()
	return installed, nil
}

func (a *applyLoop) install(r *replica, task *applyTask) error {
	if err := task.staged.Install(); err != nil {
		return fmt.Errorf("install snapshot of %s: %w", r.id, err)
	}
	r.waitMeta = 0
	if err := r.load(a.engine); err != nil {
		return err
	}
	task.done()
	return nil
}

// stage applies every replica's pending entries into the batch.
func (a *applyLoop) stage(batch *storage.Batch) ([]applied, error) {
	var staged []applied
	for _, r := range a.active {
		if r.waitMeta > a.meta.visible.Load() {
			continue
		}
		r.waitMeta = 0
		one, err := a.stageReplica(batch, r)
		if err != nil {
			return nil, fmt.Errorf("apply %s: %w", r.id, err)
		}
		if len(one.entries) > 0 {
			staged = append(staged, one)
		}
	}
	return staged, nil
}

func (a *applyLoop) stageReplica(batch *storage.Batch, r *replica) (applied, error) {
	count := 0
	for _, task := range r.pending {
		for _, e := range task.entries {
			count += countCommands(e.GetData())
		}
	}
	run := make([]command.Entry, 0, count)
	next := r.state.Index
	for _, task := range r.pending {
		for _, e := range task.entries {
			if next++; e.GetIndex() != next {
				return applied{}, fmt.Errorf("entry %d is next in the log, but %d is next to apply", e.GetIndex(), next)
			}
			var err error
			if run, err = openForApply(run, e); err != nil {
				return applied{}, err
			}
		}
	}
	outcome, err := r.sm.Apply(batch, run)
	if err != nil {
		return applied{}, err
	}
	n := len(outcome.Results)
	if n < len(run) && outcome.WaitMeta == 0 {
		return applied{}, fmt.Errorf("state machine gave %d results for %d commands", n, len(run))
	}
	if n > 0 && run[n-1].More {
		return applied{}, fmt.Errorf("state machine stopped within log entry %d", run[n-1].Index)
	}
	r.waitMeta = outcome.WaitMeta
	if n == 0 {
		return applied{}, nil
	}
	one := applied{replica: r, entries: run[:n], results: outcome.Results, state: r.state}
	one.state.Index, one.state.Term = run[n-1].Index, run[n-1].Term
	one.logged = int(one.state.Index - r.state.Index)
	if err = one.reconfigure(r.pending, one.logged); err != nil {
		return applied{}, err
	}
	if a.encoded, err = r.conf.appendApplied(a.encoded[:0], one.state); err != nil {
		return applied{}, err
	}
	return one, batch.Set(keys.Applied(r.id), a.encoded)
}

// openForApply adds what an entry holds to a run; a configuration change is a command without data for the state machine.
func openForApply(run []command.Entry, e *raftpb.Entry) ([]command.Entry, error) {
	if e.GetType() != raftpb.EntryNormal {
		return append(run, command.Entry{Index: e.GetIndex(), Term: e.GetTerm()}), nil
	}
	return openEntry(run, e)
}

// reconfigure folds the configuration changes among the first n pending entries into the state. A change
// that does not fit the configuration is skipped, on every replica alike.
func (one *applied) reconfigure(pending []*applyTask, n int) error {
	for _, task := range pending {
		for _, e := range task.entries {
			if n == 0 {
				return nil
			}
			n--
			if e.GetType() == raftpb.EntryNormal {
				continue
			}
			change, err := decodeConfChange(e)
			if err != nil {
				return err
			}
			conf, ok := nextConf(one.state.Conf, change)
			if !ok {
				continue
			}
			one.state.Conf = conf
			one.changes = append(one.changes, confChanged{task: task, change: change, conf: conf})
		}
	}
	return nil
}

func decodeConfChange(e *raftpb.Entry) (*raftpb.ConfChangeV2, error) {
	if e.GetType() == raftpb.EntryConfChange {
		var v1 raftpb.ConfChange
		if err := proto.Unmarshal(e.GetData(), &v1); err != nil {
			return nil, fmt.Errorf("configuration change at %d: %w", e.GetIndex(), err)
		}
		return v1.AsV2(), nil
	}
	var v2 raftpb.ConfChangeV2
	if err := proto.Unmarshal(e.GetData(), &v2); err != nil {
		return nil, fmt.Errorf("configuration change at %d: %w", e.GetIndex(), err)
	}
	return &v2, nil
}

// tell publishes what a commit made true: the state machine's views first, then the applied index, then
// the callers, then those who watch, then Raft.
func (a *applyLoop) tell(one *applied) {
	r := one.replica
	r.state = one.state
	r.sm.Publish()
	r.advance(one.state.Index)
	a.spare = r.resolveAll(one.entries, one.results, a.spare)
	r.sm.Announce()
	for _, c := range one.changes {
		c.task.configured(c.change, c.conf)
	}
	r.finish(one.logged)
	a.retire()
}

// finish removes n applied entries from the pending tasks and ends the tasks that are complete.
func (r *replica) finish(n int) {
	for len(r.pending) > 0 && len(r.pending[0].entries) <= n && r.pending[0].staged == nil {
		task := r.pending[0]
		n -= len(task.entries)
		r.pending = r.pending[1:]
		task.done()
	}
	if n > 0 {
		r.pending[0].entries = r.pending[0].entries[n:]
	}
}

// retire drops replicas without pending work from the active list.
func (a *applyLoop) retire() {
	kept := a.active[:0]
	for _, r := range a.active {
		if len(r.pending) > 0 {
			kept = append(kept, r)
		} else {
			r.pending = nil
		}
	}
	clear(a.active[len(kept):])
	a.active = kept
}

// appliedIndex returns the visible applied index of a replica set member; nil is zero.
func appliedIndex(replicas map[shard.GroupID]*replica, id shard.GroupID) uint64 {
	if r := replicas[id]; r != nil {
		return r.visible.Load()
	}
	return 0
}
