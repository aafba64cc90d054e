package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// liveSocket is one client connection. Its reader counts frames and does not parse them, so that the clients, which
// share the machine with the servers, cost little.
type liveSocket struct {
	wire    *liveWire
	ended   chan struct{}
	acks    atomic.Int64
	events  atomic.Int64
	part    []byte // the begin of a frame; belongs to the reader
	untimed bool   // see liveLab

	mu      sync.Mutex // guards what is below
	waits   latencies
	failure error
}

const liveDialers = 32

// connect opens further sockets at the target server and waits until they are authenticated.
func (l *liveLab) connect(count int) error {
	opened := make([]*liveSocket, count)
	var next atomic.Int64
	var group sync.WaitGroup
	var failed atomic.Pointer[error]
	for range liveDialers {
		group.Go(func() {
			for i := next.Add(1) - 1; int(i) < count && failed.Load() == nil; i = next.Add(1) - 1 {
				s, err := l.dial(l.servers[l.target].api)
				if err != nil {
					failed.Store(&err)
					return
				}
				opened[i] = s
			}
		})
	}
	group.Wait()
	for _, s := range opened {
		if s != nil {
			l.sockets = append(l.sockets, s)
		}
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (l *liveLab) dial(api string) (*liveSocket, error) {
	dialer := websocket.Dialer{ReadBufferSize: 512, WriteBufferSize: 512, WriteBufferPool: &sync.Pool{}, HandshakeTimeout: startPatience}
	ws, answer, err := dialer.DialContext(l.ctx, "ws://"+api+"/v1/ws?compress=false", nil)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	_ = answer.Body.Close() // it has none
	hello := `{"type":"authenticate","method":"jwt","token":"` + l.token + `","protocol":{"serialization":"json","compression":"none"}}`
	if err = ws.WriteMessage(websocket.TextMessage, []byte(hello)); err != nil {
		return nil, errors.Join(err, ws.Close())
	}
	// The server says one thing now, and nothing before it is asked again, so nothing is read ahead.
	_, first, err := ws.ReadMessage()
	if err == nil && !bytes.Contains(first, []byte(`"auth_success"`)) {
		err = fmt.Errorf("not authenticated: %s", first)
	}
	if err != nil {
		return nil, errors.Join(err, ws.Close())
	}
	s := &liveSocket{ended: make(chan struct{}), untimed: l.untimed}
	if err = l.readers.adopt(ws.NetConn(), s); err != nil {
		return nil, errors.Join(err, ws.Close())
	}
	return s, nil
}

// say sends a text message.
func (s *liveSocket) say(message string) error {
	const text, masked = 0x81, 0x80
	frame := []byte{text, masked | byte(min(len(message), 126))}
	if len(message) >= 126 {
		frame = binary.BigEndian.AppendUint16(frame, uint16(len(message)))
	}
	frame = append(frame, 0, 0, 0, 0) // the mask, which changes nothing
	_, err := s.wire.Write(append(frame, message...))
	return err
}

// cutFrame takes the payload of the first frame of a server off; false when it is not whole.
func cutFrame(data []byte) (payload, rest []byte, whole bool) {
	if len(data) < 2 {
		return nil, data, false
	}
	head, size := 2, uint64(data[1])
	switch {
	case size == 126 && len(data) >= 4:
		head, size = 4, uint64(binary.BigEndian.Uint16(data[2:]))
	case size == 127 && len(data) >= 10:
		head, size = 10, binary.BigEndian.Uint64(data[2:])
	case size >= 126:
		return nil, data, false
	}
	if uint64(len(data)-head) < size {
		return nil, data, false
	}
	end := head + int(size)
	return data[head:end], data[end:], true
}

var (
	liveAck   = []byte(`{"type":"subscription_ack"`)
	liveEvent = []byte(`{"type":"change"`)
	liveSent  = []byte(`"sent":"`)
)

// took counts what the reader has read.
func (s *liveSocket) took(data []byte) {
	if len(s.part) > 0 {
		s.part = append(s.part, data...)
		data = s.part
	}
	for {
		frame, rest, whole := cutFrame(data)
		if !whole {
			s.part = append(s.part[:0], rest...)
			return
		}
		data = rest
		switch {
		case bytes.HasPrefix(frame, liveEvent):
			if !s.untimed {
				s.note(frame)
			}
			s.events.Add(1)
		case bytes.HasPrefix(frame, liveAck):
			s.acks.Add(1)
		default:
			s.fail(fmt.Errorf("the server said %.300q", frame))
		}
	}
}

// note takes the time that the row carries, if it does.
func (s *liveSocket) note(frame []byte) {
	_, digits, _ := bytes.Cut(frame, liveSent)
	digits, _, _ = bytes.Cut(digits, []byte{'"'})
	sent, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || sent == 0 {
		return
	}
	took := time.Duration(time.Now().UnixNano() - sent)
	s.mu.Lock()
	s.waits = append(s.waits, took)
	s.mu.Unlock()
}

func (s *liveSocket) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		s.failure = err
	}
}

// disconnect closes all sockets.
func (l *liveLab) disconnect() {
	for _, s := range l.sockets {
		s.wire.end()
	}
	for _, s := range l.sockets {
		<-s.ended
	}
	l.sockets = nil
}

// subscriptionsPerSocket is what a server allows.
const subscriptionsPerSocket = 100

// subscribeRooms makes subscriptions, spread over the sockets, to the rooms in turn.
func (l *liveLab) subscribeRooms(subscriptions, rooms int) error {
	return l.subscribe(0, subscriptions, func(i int) string {
		return "SELECT * FROM bench.live WHERE room = " + strconv.Itoa(i%max(1, rooms))
	})
}

// subscribeRange makes those from one number to another, ten to a room.
func (l *liveLab) subscribeRange(from, to int) error {
	return l.subscribe(from, to, func(i int) string { return "SELECT * FROM bench.live WHERE room = " + strconv.Itoa(i/10) })
}

// subscribeAll makes subscriptions that see everything.
func (l *liveLab) subscribeAll(subscriptions int) error {
	return l.subscribe(0, subscriptions, func(int) string { return "SELECT * FROM bench.live" })
}

func (l *liveLab) subscribe(from, to int, sql func(i int) string) error {
	want := int64(to - from)
	for _, s := range l.sockets {
		want += s.acks.Load()
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for range liveDialers {
		group.Go(func() {
			for at := next.Add(1) - 1; int(at) < len(l.sockets); at = next.Add(1) - 1 {
				s := l.sockets[at]
				for i := from + int(at); i < to; i += len(l.sockets) {
					message := fmt.Sprintf(`{"type":"subscribe","subscription":{"id":"s%d","sql":"%s"}}`, i, sql(i))
					if err := s.say(message); err != nil {
						s.fail(err)
						return
					}
				}
			}
		})
	}
	group.Wait()
	return l.awaitCount(want, func(s *liveSocket) int64 { return s.acks.Load() })
}

func (l *liveLab) frames() int64 {
	total := int64(0)
	for _, s := range l.sockets {
		total += s.events.Load()
	}
	return total
}

// await waits until so many events were counted in all.
func (l *liveLab) await(want int64) error {
	return l.awaitCount(want, func(s *liveSocket) int64 { return s.events.Load() })
}

func (l *liveLab) awaitCount(want int64, of func(*liveSocket) int64) error {
	for deadline := time.Now().Add(startPatience); ; {
		total := int64(0)
		for _, s := range l.sockets {
			total += of(s)
		}
		if total >= want {
			return nil
		}
		for _, s := range l.sockets {
			s.mu.Lock()
			err := s.failure
			s.mu.Unlock()
			if err != nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d frames came within %v", total, want, startPatience)
		}
		if err := rest(l.ctx, 200*time.Microsecond); err != nil {
			return err
		}
	}
}

// takeLatencies returns, sorted, what was measured since the last call.
func (l *liveLab) takeLatencies() latencies {
	all := make([]latencies, len(l.sockets))
	for i, s := range l.sockets {
		s.mu.Lock()
		all[i], s.waits = s.waits, nil
		s.mu.Unlock()
	}
	return merge(all)
}
