package transport

import (
	"container/heap"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// Network connects Memory nodes. It has no goroutine: what was sent waits until Step or Deliver hands it
// over, so one goroutine and one seed can decide everything. Delays end by the clock given to NewNetwork.
type Network struct {
	clock clock.Clock
	ready chan struct{}

	mu        sync.Mutex // guards all below; never held while a handler or hook runs
	nodes     map[string]*Memory
	flights   flightHeap
	sequence  int64 // of the last thing put behind all others
	overtaken int64 // of the last thing put before all others, negative
	cut       map[link]bool
	fault     func(*Packet) Verdict
	callFault func(*Call) CallVerdict
}

// link is one direction between two addresses.
type link struct{ from, to string }

// Packet is one frame on its way.
type Packet struct {
	From, To    ident.ReplicaID
	FromAddress string
	Lane        Lane
	Messages    int
	Frame       []byte // encoded; a fault may change it
}

// Verdict is what happens to a packet. The zero value delivers it.
type Verdict struct {
	Drop     bool          // lose it; the sender is not told
	Delay    time.Duration // deliver it later; packets sent after it may arrive before it
	Copies   int           // deliver it this many times more
	Overtake bool          // deliver it before everything that already waits and is due at the same time
}

// CallKind says which call a Call is.
type CallKind uint8

// The kinds of calls.
const (
	CallForward CallKind = iota + 1
	CallSnapshot
	CallSnapshotChunk
	CallNodeInfo
	CallJoin
)

// Call is one call, or one chunk of a snapshot, on its way.
type Call struct {
	Kind                   CallKind
	From, To               ident.ReplicaID // zero where they are not known
	FromAddress, ToAddress string
	Wire                   []byte // CallSnapshotChunk only: encoded; a fault may change it
}

// CallVerdict is what happens to a call.
type CallVerdict uint8

// The verdicts. For a chunk, both losses break the stream.
const (
	DeliverCall  CallVerdict = iota
	LoseRequest              // the handler does not see it, and the caller knows
	LoseResponse             // the handler runs, the caller does not learn the answer
)

// flight is a packet or a report waiting for its time.
type flight struct {
	due      time.Time
	sequence int64
	sender   *Memory
	hello    hello
	packet   Packet
	size     int  // accounted bytes
	extra    bool // a copy, which takes no room in the queue

	isReport bool
	about    ident.ReplicaID
}

// flightHeap orders flights by time, then by sequence.
type flightHeap []*flight

func (h flightHeap) Len() int { return len(h) }
func (h flightHeap) Less(i, j int) bool {
	if !h[i].due.Equal(h[j].due) {
		return h[i].due.Before(h[j].due)
	}
	return h[i].sequence < h[j].sequence
}
func (h flightHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *flightHeap) Push(x any) {
	if f, ok := x.(*flight); ok {
		*h = append(*h, f)
	}
}

// Pop implements heap.Interface.
func (h *flightHeap) Pop() any {
	last := len(*h) - 1
	f := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return f
}

// NewNetwork returns a network without nodes.
func NewNetwork(clk clock.Clock) *Network {
	return &Network{
		clock: clk, ready: make(chan struct{}, 1),
		nodes: make(map[string]*Memory), cut: make(map[link]bool),
	}
}

// Node adds a running node. An address is free again after the Stop of the node that had it.
func (n *Network) Node(cfg MemoryConfig, handler Handler) (*Memory, error) {
	if cfg.Address == "" || cfg.Resolver == nil {
		return nil, errors.New("memory transport: address and resolver are required")
	}
	cfg.Limits = cfg.Limits.withDefaults()
	if err := cfg.Limits.validate(); err != nil {
		return nil, fmt.Errorf("memory transport: %w", err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.ReportInterval == 0 {
		cfg.ReportInterval = defaultReportInterval
	}
	metrics, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	m := &Memory{
		network: n, cfg: cfg, handler: handler, metrics: metrics,
		queues:     make(map[memoryQueueKey]*memoryQueue),
		reportable: make(map[ident.ReplicaID]time.Time), reporting: make(map[ident.ReplicaID]bool),
	}
	for lane := range Lane(laneCount) {
		m.sent[lane], m.received[lane] = metrics.traffic("sent", lane), metrics.traffic("received", lane)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nodes[cfg.Address] != nil {
		return nil, fmt.Errorf("memory transport: address %s is in use", cfg.Address)
	}
	n.nodes[cfg.Address] = m
	return m, nil
}

func (n *Network) remove(m *Memory) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.nodes, m.cfg.Address)
}

// SetFault installs the hook that judges every packet when it is sent; nil delivers all.
func (n *Network) SetFault(fault func(*Packet) Verdict) {
	n.mu.Lock()
	n.fault = fault
	n.mu.Unlock()
}

// SetCallFault installs the hook that judges every call; nil delivers all.
func (n *Network) SetCallFault(fault func(*Call) CallVerdict) {
	n.mu.Lock()
	n.callFault = fault
	n.mu.Unlock()
}

// Partition cuts both directions between two addresses. What is on its way is lost.
func (n *Network) Partition(a, b string) {
	n.PartitionOneWay(a, b)
	n.PartitionOneWay(b, a)
}

// PartitionOneWay cuts the direction between two addresses. Packets that meet the cut are dropped and reported.
func (n *Network) PartitionOneWay(from, to string) {
	n.mu.Lock()
	n.cut[link{from, to}] = true
	n.mu.Unlock()
}

// Heal mends both directions between two addresses.
func (n *Network) Heal(a, b string) {
	n.mu.Lock()
	delete(n.cut, link{a, b})
	delete(n.cut, link{b, a})
	n.mu.Unlock()
}

// HealAll mends everything.
func (n *Network) HealAll() {
	n.mu.Lock()
	clear(n.cut)
	n.mu.Unlock()
}

// blocked reports whether a direction is cut.
func (n *Network) blocked(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[link{from, to}]
}

// find returns the running node at an address that can be reached from another.
func (n *Network) find(from, to string) (*Memory, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut[link{from, to}] || n.nodes[to] == nil {
		return nil, errUnreachable
	}
	return n.nodes[to], nil
}

// judge asks the hook about a call.
func (n *Network) judge(c *Call) CallVerdict {
	n.mu.Lock()
	fault := n.callFault
	n.mu.Unlock()
	if fault == nil {
		return DeliverCall
	}
	return fault(c)
}

// send puts a packet on its way, after the hook has judged it.
func (n *Network) send(f *flight) {
	n.mu.Lock()
	fault := n.fault
	n.mu.Unlock()
	var verdict Verdict
	if fault != nil {
		verdict = fault(&f.packet)
	}
	if verdict.Drop {
		f.sender.release(memoryQueueKey{f.packet.To, f.packet.Lane}, f.packet.Messages, f.size)
		return
	}
	f.due = n.clock.Now().Add(max(verdict.Delay, 0))
	n.mu.Lock()
	n.enqueue(f, verdict.Overtake)
	for range verdict.Copies {
		again := *f
		again.extra = true
		n.enqueue(&again, false)
	}
	n.mu.Unlock()
	n.signal()
}

// report puts a HandleUnreachable on its way.
func (n *Network) report(m *Memory, about ident.ReplicaID, due time.Time) {
	n.mu.Lock()
	n.enqueue(&flight{due: due, sender: m, isReport: true, about: about}, false)
	n.mu.Unlock()
	n.signal()
}

// enqueue needs n.mu.
func (n *Network) enqueue(f *flight, overtake bool) {
	if overtake {
		n.overtaken--
		f.sequence = n.overtaken
	} else {
		n.sequence++
		f.sequence = n.sequence
	}
	heap.Push(&n.flights, f)
}

func (n *Network) signal() {
	select {
	case n.ready <- struct{}{}:
	default: // a token is there already
	}
}

// Ready holds a token when something was sent since the last receive, for an owner that runs a goroutine.
func (n *Network) Ready() <-chan struct{} { return n.ready }

// Pending returns how many packets and reports are on their way, due or not.
func (n *Network) Pending() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.flights)
}

// NextDue returns when the earliest of them is due; ok is false when there is none.
func (n *Network) NextDue() (due time.Time, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.flights) == 0 {
		return time.Time{}, false
	}
	return n.flights[0].due, true
}

// Step delivers the earliest packet or report that is due, on the caller's goroutine, and reports whether
// there was one. One goroutine at a time may step.
func (n *Network) Step() bool {
	now := n.clock.Now()
	n.mu.Lock()
	if len(n.flights) == 0 || n.flights[0].due.After(now) {
		n.mu.Unlock()
		return false
	}
	f, _ := heap.Pop(&n.flights).(*flight)
	n.mu.Unlock()
	if f.isReport {
		f.sender.unreachable(f.about)
		return true
	}
	n.deliver(f)
	return true
}

// deliver hands a packet to its addressee, or tells the sender that it could not.
func (n *Network) deliver(f *flight) {
	err := n.handOver(f)
	if !f.extra {
		f.sender.release(memoryQueueKey{f.packet.To, f.packet.Lane}, f.packet.Messages, f.size)
	}
	if err != nil {
		f.sender.drop(f.packet.To, dropUnreachable, f.packet.Messages)
	}
}

func (n *Network) handOver(f *flight) error {
	addr, ok := f.sender.cfg.Resolver.Address(f.packet.To)
	if !ok {
		return ErrUnknownAddress
	}
	peer, err := n.find(f.packet.FromAddress, addr)
	if err != nil {
		return err
	}
	return peer.receive(f.hello, f.packet.Lane, slices.Clone(f.packet.Frame))
}

// Deliver steps until nothing is due or most steps were made, and returns how many were. What handlers
// send meanwhile is delivered too.
func (n *Network) Deliver(most int) int {
	for steps := range most {
		if !n.Step() {
			return steps
		}
	}
	return most
}
