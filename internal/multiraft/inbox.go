package multiraft

import raftpb "go.etcd.io/raft/v3/raftpb"

// item is one thing for a worker to do. Exactly one of the payloads is set.
type item struct {
	group    *group
	message  *raftpb.Message
	proposal *proposal
	read     *readRequest
	do       func(*group) // anything rarer, run on the worker
}

// enqueue adds one item and wakes the worker.
func (w *worker) enqueue(it item) {
	w.mu.Lock()
	w.inbox = append(w.inbox, it)
	w.mu.Unlock()
	signal(w.wake)
}

// enqueueMessages adds the Raft messages of one frame, which is taken over, and wakes the worker once: it would otherwise
// begin with the first message, and the rest of the frame would need a pass, and a sync, of their own. Messages over
// the bound are dropped: Raft sends again.
func (w *worker) enqueueMessages(frame []item) {
	w.mu.Lock()
	room := max(w.m.cfg.MaxInbox-w.messages, 0)
	dropped := max(len(frame)-room, 0)
	frame = frame[:len(frame)-dropped]
	w.messages += len(frame)
	w.inbox = append(w.inbox, frame...)
	w.mu.Unlock()
	w.m.stats.droppedMessages.Add(uint64(dropped))
	signal(w.wake)
}

// enqueueIdly adds one item that can wait for the next pass, which comes with the next tick at the latest.
func (w *worker) enqueueIdly(it item) {
	w.mu.Lock()
	w.inbox = append(w.inbox, it)
	w.mu.Unlock()
}

// addTicks lets ticks of Raft time pass. Ticks that pile up while the worker is busy are capped, so that
// a node that was paused does not count the pause against its leaders.
func (w *worker) addTicks(ticks int) {
	w.mu.Lock()
	w.ticks = min(w.ticks+ticks, w.m.cfg.HeartbeatTicks)
	w.stood += ticks
	w.mu.Unlock()
	signal(w.wake)
}
