package transport

import (
	"fmt"
	"sync"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Lane is a class of messages with a stream of its own. Order is kept within a lane, not between lanes.
type Lane uint8

// The lanes.
const (
	// LaneControl carries what elections and reads wait for, and everything of the meta group.
	LaneControl Lane = iota
	// LaneBulk carries the rest: log entries and their acknowledgements.
	LaneBulk
)

// laneCount is untyped, so that it is no lane itself.
const laneCount = 2

// String prints the lane as metrics and metadata name it.
func (l Lane) String() string {
	switch l {
	case LaneControl:
		return "control"
	case LaneBulk:
		return "bulk"
	}
	return "unknown"
}

func parseLane(text string) (Lane, error) {
	for lane := range Lane(laneCount) {
		if lane.String() == text {
			return lane, nil
		}
	}
	return 0, fmt.Errorf("lane %q: %w", text, ErrMalformed)
}

// LaneOf returns the lane a message travels on.
func LaneOf(msg Message) Lane {
	if msg.Group == shard.Meta {
		return LaneControl
	}
	if kind := msg.Raft.GetType(); kind == raftpb.MsgApp || kind == raftpb.MsgAppResp || kind == raftpb.MsgSnap {
		return LaneBulk
	}
	return LaneControl
}

// outQueue is the bounded queue of one peer and lane. What was taken counts against the bounds until it
// is released, so that the bound covers the messages being sent too.
type outQueue struct {
	maxMessages, maxBytes int
	wake                  chan struct{} // holds one token while there may be messages

	mu       sync.Mutex // guards all below
	waiting  []Message
	spare    []Message // the other half of the double buffer
	messages int
	bytes    int
}

func newQueue(limits Limits) *outQueue {
	return &outQueue{maxMessages: limits.QueueMessages, maxBytes: limits.QueueBytes, wake: make(chan struct{}, 1)}
}

// push appends the messages of one lane and returns how many it had to drop and how the accounted bytes changed. Somebody
// has to send them, or to signal.
func (q *outQueue) push(msgs []Message, lane Lane) (dropped, grown int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range msgs {
		if LaneOf(m) != lane {
			continue
		}
		if q.messages >= q.maxMessages || q.bytes >= q.maxBytes {
			dropped++
			continue
		}
		size := sizeBound(m.Raft)
		q.waiting = append(q.waiting, m)
		q.messages++
		q.bytes += size
		grown += size
	}
	return dropped, grown
}

// signal wakes the lane's goroutine.
func (q *outQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // a token is there already
	}
}

// size is how many bytes wait or are being sent.
func (q *outQueue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// take returns all waiting messages; release must follow for each, and recycle for the slice.
func (q *outQueue) take() []Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.waiting
	q.waiting, q.spare = q.spare[:0], nil
	return taken
}

// release gives back the room of messages that were sent or dropped.
func (q *outQueue) release(messages, bytes int) {
	q.mu.Lock()
	q.messages -= messages
	q.bytes -= bytes
	q.mu.Unlock()
}

// largestSpare is how many messages' room a queue keeps when it is empty.
const largestSpare = 1024

// recycle lets a taken slice be used again, without what it refers to.
func (q *outQueue) recycle(taken []Message) {
	if cap(taken) > largestSpare {
		return
	}
	clear(taken)
	q.mu.Lock()
	if q.spare == nil {
		q.spare = taken[:0]
	}
	q.mu.Unlock()
}
