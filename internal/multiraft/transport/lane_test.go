package transport

import (
	"io"
	"slices"
	"testing"

	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/grpc"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// keepingStream is a stream that keeps the terms of what is sent on it, and its frames until free is called.
type keepingStream struct {
	grpc.ClientStream
	t     *testing.T
	terms []uint64
	kept  []*outFrame
	err   error
}

func (s *keepingStream) SendMsg(v any) error {
	frame, ok := v.(*outFrame)
	if !ok {
		s.t.Fatalf("%T was sent", v)
	}
	s.kept = append(s.kept, frame)
	if s.err != nil {
		return s.err
	}
	msgs, err := decodeFrame(frame.buffer.ReadOnlyData(), 1<<20)
	if err != nil {
		s.t.Error(err)
	}
	for _, m := range msgs {
		s.terms = append(s.terms, m.Raft.GetTerm())
	}
	return nil
}

func (s *keepingStream) free() {
	for _, frame := range s.kept {
		frame.buffer.Free()
	}
	s.kept = nil
}

// TestFramesLeaveAtOnce: who queues messages sends them while the stream has room, in order with what waited, and leaves
// them to the lane's goroutine when there is no stream, too much under way, or somebody else sending.
func TestFramesLeaveAtOnce(t *testing.T) {
	t.Parallel()
	node, err := NewGRPC(GRPCConfig{Resolver: fixedResolver(""), Clock: clock.Real{}}, &quietHandler{})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Stop(t.Context())
	// Nobody runs the lane.
	l := newLane(&peer{transport: node, replica: 2}, LaneBulk)
	term := uint64(0)
	push := func(bytes int) {
		term++
		l.queue.push([]Message{{Group: shard.UserShard(0), Raft: &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), Term: new(term), From: new(uint64(1)), To: new(uint64(2)), Context: make([]byte, bytes),
		}}}, LaneBulk)
	}
	stream := &keepingStream{t: t}
	want := func(at string, sent bool, terms ...uint64) {
		t.Helper()
		if got := l.sendAtOnce(); got != sent || !slices.Equal(stream.terms, terms) {
			t.Errorf("%s: sent at once %v with terms %v, want %v with %v", at, got, stream.terms, sent, terms)
		}
	}
	push(10)
	want("without a stream", false)
	open := &raftStream{ClientStream: stream, pool: node.pool, broken: make(chan struct{})}
	l.use(open)
	push(10)
	want("two that wait", true, 1, 2)
	push(atOnceBytes - 2000)
	want("one that has room", true, 1, 2, 3)
	push(2000)
	want("one that has none", false, 1, 2, 3)
	stream.free()
	if under := open.underWay.Load(); under != 0 {
		t.Errorf("%d bytes are under way when all are written", under)
	}
	l.sending.Lock()
	want("somebody else sends", false, 1, 2, 3)
	l.sending.Unlock()
	push(10)
	want("there is room again", true, 1, 2, 3, 4, 5)
	stream.free()
	stream.err = io.EOF
	push(10)
	want("a stream that has ended", true, 1, 2, 3, 4, 5)
	stream.free()
	if l.open != nil || l.queue.size() != 0 {
		t.Errorf("a broken stream is used further: %v, or %d bytes wait", l.open != nil, l.queue.size())
	}
}
