package exec

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/table"
	"github.com/kalamdb/kalamdb-go/internal/txn"
)

// errStopped is the cause with which a request that was killed ends.
var errStopped = fault.New(fault.InvalidStatement, "the statement was stopped by an administrator")

// runningRequests knows the requests that are under way. The API layer bounds how many there are.
type runningRequests struct {
	mu   sync.Mutex // guards next and open
	next uint64
	open map[uint64]*runningRequest
}

// runningRequest is one request that is under way.
type runningRequest struct {
	number    uint64
	caller    session.Session
	since     time.Time
	cancel    context.CancelCauseFunc
	statement string // first word of the statement that runs; guarded by runningRequests.mu
	tx        string // id of the open transaction; guarded by runningRequests.mu
}

func (r *runningRequests) add(caller session.Session, now time.Time, cancel context.CancelCauseFunc) *runningRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	request := &runningRequest{number: r.next, caller: caller, since: now, cancel: cancel}
	r.open[request.number] = request
	return request
}

func (r *runningRequests) remove(request *runningRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, request.number)
}

// reaches notes what a request is doing.
func (r *runningRequests) reaches(request *runningRequest, text string, tx *txn.Transaction) {
	word := strings.TrimSpace(text)
	if end := strings.IndexAny(word, " \t\r\n(;"); end >= 0 {
		word = word[:end]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	request.statement, request.tx = strings.ToUpper(word), ""
	if tx != nil {
		request.tx = tx.ID
	}
}

// sessionName is the id of a request as system.sessions shows it: the node and a number.
func (e *Engine) sessionName(number uint64) string { return fmt.Sprintf("%d/%d", e.deps.Node, number) }

// kill ends a request or a transaction.
func (e *Engine) kill(node *parse.Kill) (Result, error) {
	if node.Transaction {
		if err := e.transactions.Kill(node.ID); err != nil {
			return Result{}, e.located(err)
		}
		return Result{Message: "Transaction " + node.ID + " killed"}, nil
	}
	home, number, ok := strings.Cut(node.ID, "/")
	parsed, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return Result{}, fault.New(fault.InvalidStatement, "'%s' is no id of a query; system.sessions lists them", node.ID)
	}
	if at, failed := strconv.ParseUint(home, 10, 64); failed != nil || ident.NodeID(at) != e.deps.Node {
		elsewhere := fault.New(fault.NotLeader, "query '%s' runs on node %s, send the statement there", node.ID, home)
		elsewhere.Leader = e.addressOf(ident.NodeID(at))
		return Result{}, elsewhere
	}
	e.running.mu.Lock()
	found := e.running.open[parsed]
	e.running.mu.Unlock()
	if found == nil {
		return Result{}, fault.New(fault.InvalidStatement, "no query '%s' is running; system.sessions lists those that are", node.ID)
	}
	found.cancel(errStopped)
	return Result{Message: "Query " + node.ID + " killed"}, nil
}

// located adds the address of the node that has the transaction.
func (e *Engine) located(err error) error {
	refused, ok := err.(*fault.Error) //nolint:errorlint // made by package txn just now
	if !ok || refused.Kind != fault.NotLeader {
		return err
	}
	_, id, _ := strings.Cut(refused.Message, "'")
	home, _ := txn.NodeOf(id)
	pointed := *refused
	pointed.Leader = e.addressOf(home)
	return &pointed
}

// addressOf returns where clients reach a node, "" when it is not known.
func (e *Engine) addressOf(node ident.NodeID) string {
	for _, member := range e.deps.Catalog.Current().Members() {
		if member.Node == node && !member.Removed {
			return member.APIAddr
		}
	}
	return ""
}

// openTransactions are the rows of system.transactions.
func (e *Engine) openTransactions() []table.OpenTransaction {
	infos := e.transactions.List()
	rows := make([]table.OpenTransaction, len(infos))
	for i, info := range infos {
		origin := "request"
		if info.Session {
			origin = "session"
		}
		rows[i] = table.OpenTransaction{
			ID: info.ID, Owner: info.Owner, Origin: origin, State: info.State, AgeMillis: info.Age.Milliseconds(),
			IdleMillis: info.Idle.Milliseconds(), Rows: int64(info.Rows), Bytes: info.Bytes, Tables: int64(info.Tables),
		}
	}
	return rows
}

// allSessions are the rows of system.sessions: what is open here, then what other nodes tell.
func (e *Engine) allSessions(ctx context.Context) []table.OpenSession {
	rows := e.OpenSessions()
	if e.deps.Elsewhere != nil {
		rows = append(rows, e.deps.Elsewhere(ctx)...)
	}
	return rows
}

// OpenSessions lists what is open on this node: the requests that are under way, and the transactions that
// wait for their next one, and live connections.
func (e *Engine) OpenSessions() []table.OpenSession {
	infos := e.transactions.List()
	byID := make(map[string]*txn.Info, len(infos))
	for i := range infos {
		byID[infos[i].ID] = &infos[i]
	}
	now := e.deps.Clock.Now()
	e.running.mu.Lock()
	requests := make([]runningRequest, 0, len(e.running.open))
	for _, request := range e.running.open {
		requests = append(requests, *request)
	}
	e.running.mu.Unlock()
	slices.SortFunc(requests, func(a, b runningRequest) int { return cmp.Compare(a.number, b.number) })
	var rows []table.OpenSession
	for i := range requests {
		request := &requests[i]
		row := table.OpenSession{
			ID: e.sessionName(request.number), Schema: request.caller.Namespace, State: "active", User: request.caller.User,
			Client: request.caller.ClientIP, OpenedMicros: request.since.UnixMicro(), SeenMicros: request.since.UnixMicro(),
			Method: request.statement, Transaction: request.tx,
		}
		if info := byID[request.tx]; info != nil {
			row.TransactionState, row.Writes = info.State, info.Rows > 0
		}
		rows = append(rows, row)
	}
	for i := range infos {
		info := &infos[i]
		if info.State == "active" {
			continue
		}
		rows = append(rows, table.OpenSession{
			ID: info.ID, State: "idle in transaction", User: info.Owner, OpenedMicros: info.Begun.UnixMicro(),
			SeenMicros: now.Add(-info.Idle).UnixMicro(), Transaction: info.ID, TransactionState: info.State, Writes: info.Rows > 0,
		})
	}
	if e.deps.Sockets != nil {
		rows = append(rows, e.deps.Sockets()...)
	}
	return rows
}
