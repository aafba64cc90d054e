package txn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// Limits bound transactions. A zero field takes its default.
type Limits struct {
	MaxBytes    int64         // changes and reads of one transaction; 100 MB, and never more than a log entry holds
	Timeout     time.Duration // from BEGIN to COMMIT; 300 s
	IdleTimeout time.Duration // between two requests of one transaction; 60 s
	PerUser     int           // open at once; 16
	PerNode     int           // open at once; 256
}

func (l Limits) orDefaults() Limits {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	if l.MaxBytes == 0 {
		l.MaxBytes = 100 << 20
	}
	if l.Timeout == 0 {
		l.Timeout = 300 * time.Second
	}
	if l.IdleTimeout == 0 {
		l.IdleTimeout = time.Minute
	}
	set(&l.PerUser, 16)
	set(&l.PerNode, 256)
	return l
}

// Errors of Acquire and Kill that callers branch on; they come wrapped in a *fault.Error.
var (
	// ErrUnknown says that the caller has no such transaction, or no longer.
	ErrUnknown = errors.New("no such transaction")
	// ErrBusy says that another request of the same transaction is under way.
	ErrBusy = errors.New("the transaction is busy")
	// ErrElsewhere says that another node has the transaction.
	ErrElsewhere = errors.New("the transaction is on another node")
)

// Memory is what all requests and transactions of a node may hold together.
type Memory interface {
	// Take reserves bytes, or fails with a *fault.Error when the node has no more to give.
	Take(bytes int64) error
	Give(bytes int64)
}

// Registry knows the open transactions of one node.
type Registry struct {
	clock  clock.Clock
	random io.Reader
	node   ident.NodeID
	limits Limits
	memory Memory

	mu     sync.Mutex // guards open, users, closed and all entries
	open   map[string]*entry
	users  map[ident.UserID]int
	closed bool
}

// entry is a transaction in the registry. Its fields are guarded by Registry.mu.
type entry struct {
	tx      *Transaction
	session bool // it may outlive its request
	busy    bool
	cancel  context.CancelCauseFunc // of the request that holds it; nil when none does
	used    time.Time               // when it was last held
	state   Info                    // as of when it was last passed on
}

// Info describes an open transaction.
type Info struct {
	ID         string
	Owner      ident.UserID
	Session    bool // it may outlive its request
	State      string
	Begun      time.Time
	Idle       time.Duration // zero while a request holds it
	Age        time.Duration
	Rows       int
	Bytes      int64
	Tables     int
	Savepoints int
}

// NewRegistry makes an empty registry.
func NewRegistry(wall clock.Clock, random io.Reader, node ident.NodeID, limits Limits, memory Memory) *Registry {
	return &Registry{
		clock: wall, random: random, node: node, limits: limits.orDefaults(), memory: memory, open: map[string]*entry{},
		users: map[ident.UserID]int{},
	}
}

// Begin opens a transaction, held by the caller, whose request cancel ends. With session it may be passed on
// with Release; else it must end with its request.
func (r *Registry) Begin(owner ident.UserID, session bool, cancel context.CancelCauseFunc) (*Transaction, error) {
	var draw [10]byte
	if _, err := io.ReadFull(r.random, draw[:]); err != nil {
		return nil, fmt.Errorf("draw a transaction id: %w", err)
	}
	now := r.clock.Now()
	id := fmt.Sprintf("%d-%s", r.node, requestName(now, draw))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire(now)
	switch {
	case r.closed:
		return nil, fault.New(fault.Unavailable, "the node is shutting down; begin the transaction on another one")
	case r.users[owner] >= r.limits.PerUser:
		return nil, overloaded("you have %d open transactions on this node, the most one user may have; end one first", r.users[owner])
	case len(r.open) >= r.limits.PerNode:
		return nil, overloaded("this node has %d open transactions, the most it may have; try again", len(r.open))
	}
	tx := newTransaction(id, owner, now, r.limits.MaxBytes)
	tx.memory = r.memory
	tx.entry = &entry{tx: tx, session: session, busy: true, cancel: cancel, used: now}
	r.open[id] = tx.entry
	r.users[owner]++
	return tx, nil
}

// Single opens a transaction for one statement that consists of several. It is in no list, counts for nobody, and ends with Discard.
func (r *Registry) Single(owner ident.UserID) *Transaction {
	tx := newTransaction("", owner, r.clock.Now(), r.limits.MaxBytes)
	tx.memory = r.memory
	return tx
}

// Discard closes the snapshot of a transaction of one statement; doing so again changes nothing.
func (t *Transaction) Discard() error { return t.close() }

// requestName lays out the second part of an id: a UUID of version 7.
func requestName(now time.Time, draw [10]byte) string {
	var id uuid.UUID
	millis := now.UnixMilli()
	for i := range 6 {
		id[i] = byte(millis >> (40 - 8*i)) //nolint:gosec // one byte of it
	}
	copy(id[6:], draw[:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

func overloaded(format string, args ...any) error {
	err := fault.New(fault.Overloaded, format, args...)
	err.RetryAfter = time.Second
	return err
}

// NodeOf returns the node that an id belongs to.
func NodeOf(id string) (node ident.NodeID, ok bool) {
	number, _, ok := strings.Cut(id, "-")
	parsed, err := strconv.ParseUint(number, 10, 64)
	return ident.NodeID(parsed), ok && err == nil
}

// Acquire gives a transaction that Release passed on to another request of its owner.
func (r *Registry) Acquire(id string, owner ident.UserID, cancel context.CancelCauseFunc) (*Transaction, error) {
	if node, ok := NodeOf(id); ok && node != r.node {
		return nil, fault.New(fault.NotLeader, "transaction '%s' is open on node %d, send its statements there: %w", id, node, ErrElsewhere)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	r.expire(now)
	found := r.open[id]
	switch {
	case found == nil || found.tx.Owner != owner || !found.session:
		return nil, fault.New(fault.InvalidStatement,
			"you have no open transaction '%s': it has ended or its time is over; begin another: %w", id, ErrUnknown)
	case found.busy:
		return nil, fault.New(fault.Conflict, "another request of transaction '%s' is under way; wait for its answer: %w", id, ErrBusy)
	}
	found.busy, found.cancel, found.used = true, cancel, now
	return found.tx, nil
}

// Release passes a transaction on to a later request. It reports false when it was ended meanwhile.
func (r *Registry) Release(tx *Transaction) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open[tx.ID] != tx.entry {
		return false
	}
	e := tx.entry
	e.busy, e.cancel, e.used = false, nil, r.clock.Now()
	e.note()
	return true
}

// Note refreshes what List says about a transaction that the caller holds.
func (r *Registry) Note(tx *Transaction) {
	r.mu.Lock()
	defer r.mu.Unlock()
	tx.entry.note()
}

// note copies what is shown, which only the holder of the transaction may read.
func (e *entry) note() {
	e.state = Info{Rows: len(e.tx.rows), Bytes: e.tx.bytes, Savepoints: len(e.tx.savepoints)}
	tables := map[ident.TableID]struct{}{}
	for scope := range e.tx.places {
		tables[scope.table] = struct{}{}
	}
	e.state.Tables = len(tables)
	e.state.State = "open"
	if e.tx.Failed {
		e.state.State = "failed"
	}
}

// Remaining is how long a transaction may still run.
func (r *Registry) Remaining(tx *Transaction) time.Duration {
	return r.limits.Timeout - r.clock.Now().Sub(tx.begun)
}

// End forgets a transaction that the caller holds and closes its snapshot.
func (r *Registry) End(tx *Transaction) error {
	r.mu.Lock()
	r.forget(tx.entry)
	r.mu.Unlock()
	return tx.close()
}

// forget drops an entry; the lock is held.
func (r *Registry) forget(e *entry) {
	if r.open[e.tx.ID] != e {
		return
	}
	delete(r.open, e.tx.ID)
	if r.users[e.tx.Owner]--; r.users[e.tx.Owner] == 0 {
		delete(r.users, e.tx.Owner)
	}
}

func (t *Transaction) close() error {
	t.memory.Give(t.reserved)
	t.reserved = 0
	if t.snapshot == nil {
		return nil
	}
	err := t.snapshot.Close()
	t.snapshot = nil
	return err
}

// ErrKilled is the cause with which the request of a killed transaction ends.
var ErrKilled = fault.New(fault.Conflict, "the transaction was ended by an administrator; nothing of it was written")

// Kill ends a transaction, whoever's it is; a request that holds it is cancelled.
func (r *Registry) Kill(id string) error {
	if node, ok := NodeOf(id); ok && node != r.node {
		return fault.New(fault.NotLeader, "transaction '%s' is open on node %d, send the statement there: %w", id, node, ErrElsewhere)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.open[id]
	if found == nil {
		return fault.New(fault.InvalidStatement, "there is no open transaction '%s': %w", id, ErrUnknown)
	}
	r.drop(found, ErrKilled)
	return nil
}

// drop ends a transaction from outside; the lock is held. Whoever holds it closes it.
func (r *Registry) drop(e *entry, cause error) {
	r.forget(e)
	if e.busy {
		if e.cancel != nil {
			e.cancel(cause)
		}
		return
	}
	_ = e.tx.close() // a snapshot that cannot be closed is lost with it; there is nobody to tell
}

// expire ends the transactions whose time is over; the lock is held. One that a request holds ends with the
// request, which has the same bound.
func (r *Registry) expire(now time.Time) {
	for _, e := range r.open {
		if !e.busy && (now.Sub(e.used) >= r.limits.IdleTimeout || now.Sub(e.tx.begun) >= r.limits.Timeout) {
			r.drop(e, nil)
		}
	}
}

// Sweep ends the transactions whose time is over. Begin, Acquire and List do so as well; Sweep is for a node on
// which nobody calls them.
func (r *Registry) Sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire(r.clock.Now())
}

// Close ends all transactions and refuses new ones. It comes before the store is closed: open transactions
// hold snapshots.
func (r *Registry) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, e := range r.open {
		r.drop(e, ErrKilled)
	}
}

// Len is the number of open transactions.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}

// List describes the open transactions, oldest first.
func (r *Registry) List() []Info {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	r.expire(now)
	infos := make([]Info, 0, len(r.open))
	for _, e := range r.open {
		info := e.state
		info.ID, info.Owner, info.Session, info.Begun = e.tx.ID, e.tx.Owner, e.session, e.tx.begun
		info.Age = now.Sub(e.tx.begun)
		switch {
		case e.busy:
			info.State = "active"
		default:
			info.Idle = now.Sub(e.used)
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b Info) int {
		if c := a.Begun.Compare(b.Begun); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return infos
}
