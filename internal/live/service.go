package live

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// Barrier makes this node's state of a group current. executor.CommandExecutor implements it.
type Barrier interface {
	// Barrier returns once this node's state of the group includes everything that was acknowledged before.
	Barrier(ctx context.Context, group shard.GroupID) (uint64, error)
}

// Sink takes what one connection's subscriptions deliver. Its methods are called with locks held: they must
// not wait and must not call back.
type Sink interface {
	// Deliver takes events in order. They belong together: a receiver with no room for all of them takes
	// none and ends the connection, telling the client to resume.
	Deliver(notifications []Notification)
	// Ended says that the subscription gets nothing more and why.
	Ended(sub *Subscription, why *Error)
}

// Notification is one event for one subscription.
type Notification struct {
	Sub   *Subscription
	Event *Event
}

// Config is what a Service needs. All parts are required.
type Config struct {
	Catalog *catalog.Store
	Store   *storage.Engine
	Barrier Barrier
	Feed    *changefeed.Feed
	Cold    *cold.Store // reads rows in segments; nil fails queries on tables that have some
	Clock   clock.Clock
	Logger  *slog.Logger
	Engine  Engine // runs queries whose result is kept
	// MaxPerUser bounds the subscriptions of one user on this node; zero means no limit. More are refused.
	MaxPerUser int
	// Driven says that the owner moves the streams with Step and that the service starts no goroutine for them. A
	// simulation of one goroutine does so; queries whose result is kept are not for it.
	Driven bool
}

// Service makes and keeps subscriptions. It may be used from any goroutine.
type Service struct {
	config   Config
	looks    chan struct{} // has a place for each query that may run at once
	shelf    shelf
	stopping context.Context //nolint:containedctx // ends the queries that run when the service is closed
	stop     context.CancelFunc

	mu      sync.Mutex // guards everything below
	streams map[shard.GroupID]*stream
	driven  []*stream            // the same, in the order of their groups; none unless Driven
	users   map[ident.UserID]int // subscriptions
	subs    map[uint64]*Subscription
	peak    int    // the highest total so far
	number  uint64 // of the newest subscription
	total   int
	views   int
	cuts    int
	closed  bool
	running sync.WaitGroup
}

// New makes a service without subscriptions; Close must be called.
func New(config Config) (*Service, error) {
	if config.Catalog == nil || config.Store == nil || config.Barrier == nil || config.Feed == nil ||
		config.Clock == nil || config.Logger == nil || config.Engine == nil {
		return nil, errors.New("live: a required part is missing")
	}
	s := &Service{
		config: config, streams: make(map[shard.GroupID]*stream), users: make(map[ident.UserID]int),
		shelf: shelf{users: make(map[ident.UserID]int), places: make(map[*Subscription]*shelved)},
		subs:  make(map[uint64]*Subscription), looks: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	s.stopping, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Close stops following changes and waits for the goroutines. Subscriptions get nothing more; their connections
// are ended by their owners.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	s.stop()
	for _, st := range s.streams {
		close(st.stop)
		if s.config.Driven {
			st.reader.Close()
		}
	}
	s.streams, s.driven = make(map[shard.GroupID]*stream), nil
	s.mu.Unlock()
	s.running.Wait()
}

// Count is the number of subscriptions on this node.
func (s *Service) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// Request is a live query that a client asks for.
type Request struct {
	ID         string
	Tag        []byte // kept with the subscription for the sink
	SQL        string
	Connection uint64 // shown to administrators
	// Initial says what comes before live changes: nil is nothing, else the rows that are there.
	Initial *Initial
}

// Initial says which rows or changes a subscription begins with.
type Initial struct {
	BatchSize int     // rows of a batch; zero means 1,000; never more than 10,000
	LastRows  *int    // only the newest rows, in one batch
	From      *uint64 // the changes after this cursor; zero is a cursor before everything; wins over LastRows
	asked     string  // the options as they were asked for, in JSON
}

// Bounds of batches.
const (
	defaultBatchRows = 1000
	maxBatchRows     = 10_000
	maxBatchBytes    = 1 << 20 // of a batch's JSON; a single row may be larger
	maxIDBytes       = 256
)

// Subscribe makes a subscription. It delivers nothing until its initial batches are fetched with NextBatch and
// Follow is called. The error is an *Error.
func (s *Service) Subscribe(ctx context.Context, caller session.Session, sink Sink, request Request) (*Subscription, error) {
	if err := s.admit(caller, request); err != nil {
		return nil, err
	}
	sub, err := s.subscribe(ctx, caller, sink, request)
	if err != nil {
		s.uncount(caller.User)
		return nil, judge(err, CodeFailed)
	}
	return sub, nil
}

// admit checks what can be checked without looking at the query, and counts the subscription.
func (s *Service) admit(caller session.Session, request Request) error {
	if request.ID == "" || len(request.ID) > maxIDBytes {
		return refuse(CodeInvalidID, "a subscription id has 1 to %d bytes", maxIDBytes)
	}
	if err := request.Initial.check(); err != nil {
		return err
	}
	return s.count(caller.User)
}

func (i *Initial) check() error {
	if i == nil {
		return nil
	}
	i.asked = i.text()
	if i.BatchSize <= 0 {
		i.BatchSize = defaultBatchRows
	}
	i.BatchSize = min(i.BatchSize, maxBatchRows)
	if i.LastRows == nil || i.From != nil {
		return nil
	}
	if *i.LastRows < 0 || *i.LastRows > i.BatchSize {
		return refuse(CodeUnsupported, "last_rows is %d; it must not be more than the batch size %d", *i.LastRows, i.BatchSize)
	}
	return nil
}

// text prints the options as a client sends them.
func (i *Initial) text() string {
	var parts []string
	if i.BatchSize > 0 {
		parts = append(parts, `"batch_size":`+strconv.Itoa(i.BatchSize))
	}
	if i.LastRows != nil {
		parts = append(parts, `"last_rows":`+strconv.Itoa(*i.LastRows))
	}
	if i.From != nil {
		parts = append(parts, `"from":"`+strconv.FormatUint(*i.From, 10)+`"`)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func (s *Service) subscribe(ctx context.Context, caller session.Session, sink Sink, request Request) (*Subscription, error) {
	sub, err := s.make(ctx, caller, sink, request)
	if err != nil {
		return nil, err
	}
	applied, err := s.config.Barrier.Barrier(ctx, sub.stream.group)
	if err != nil {
		return nil, err
	}
	snapshot := s.config.Store.NewSnapshot()
	defer snapshot.Close() //nolint:errcheck // nothing was written
	if sub.query.view != nil {
		err = sub.beginView(ctx, request.Initial, nil)
	} else {
		err = sub.begin(request.Initial, snapshot, applied)
	}
	if err != nil {
		return nil, err
	}
	s.register(sub)
	return sub, nil
}

// make makes a subscription that has not begun.
func (s *Service) make(ctx context.Context, caller session.Session, sink Sink, request Request) (*Subscription, error) {
	account, err := s.account(ctx, caller)
	if err != nil {
		return nil, err
	}
	q, err := s.bind(ctx, caller, request.SQL)
	if err != nil {
		return nil, err
	}
	st, err := s.stream(q.scope.Group)
	if err != nil {
		return nil, err
	}
	options := ""
	if request.Initial != nil {
		options = request.Initial.asked
	}
	return &Subscription{
		options: options,
		ID:      request.ID, Tag: request.Tag, sql: request.SQL, caller: caller, sink: sink, service: s, stream: st, query: q,
		schema: q.projection, connection: request.Connection, created: s.config.Clock.Now().UnixMicro(), since: account.CreatedMicros,
	}, nil
}

// bind binds against this node's catalog, and once more against the newest one before it says that something does not
// exist.
func (s *Service) bind(ctx context.Context, caller session.Session, text string) (*query, error) {
	now := s.config.Clock.Now().UnixMicro()
	q, err := bind(s.config.Catalog.Current(), caller, text, now, s.config.Cold)
	if fault.KindOf(err) != fault.TableNotFound {
		return q, err
	}
	if _, err := s.config.Barrier.Barrier(ctx, shard.Meta); err != nil {
		return nil, err
	}
	return bind(s.config.Catalog.Current(), caller, text, now, s.config.Cold)
}

// countView takes a place for a view, if there is one.
func (s *Service) countView() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.views >= maxViews {
		return false
	}
	s.views++
	return true
}

func (s *Service) uncountView() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.views--
}

func (s *Service) count(user ident.UserID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return refuse(CodeFailed, "the server is shutting down")
	}
	if limit := s.config.MaxPerUser; limit > 0 && s.users[user] >= limit {
		return refuse(CodeLimit, "a user may have %d live queries at once", limit)
	}
	s.users[user]++
	s.total++
	s.peak = max(s.peak, s.total)
	return nil
}

func (s *Service) uncount(user ident.UserID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.users[user]--; s.users[user] == 0 {
		delete(s.users, user)
	}
}

// spawn runs a function on a goroutine that Close waits for; it reports false when the service is closed.
func (s *Service) spawn(run func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Go(run)
	}
	return !s.closed
}

// stream returns the stream of a group and starts it if there is none.
func (s *Service) stream(group shard.GroupID) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, refuse(CodeFailed, "the server is shutting down")
	}
	if st := s.streams[group]; st != nil {
		return st, nil
	}
	st, err := newStream(s, group)
	if err != nil {
		return nil, err
	}
	s.streams[group] = st
	if s.config.Driven {
		s.driven = append(slices.Clone(s.driven), st) // Step may be looking at the old one
		slices.SortFunc(s.driven, func(a, b *stream) int { return cmp.Compare(a.group, b.group) })
	} else {
		s.running.Go(st.run)
	}
	return st, nil
}

// Step gives every subscription of a driven service what was published, in the order of the groups.
func (s *Service) Step() {
	s.mu.Lock()
	streams := s.driven
	s.mu.Unlock()
	for _, st := range streams {
		for st.step() {
		}
	}
}
