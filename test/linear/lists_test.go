package linear

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/kalamdb/kalamdb-go/client"
)

// lists are rows that hold lists, to which transactions append values that nobody else appends.
type lists struct {
	mu    sync.Mutex // guards what is below
	txns  []listTxn
	count int   // transactions that were begun
	value int64 // the last one that was appended
}

// listTxn is a transaction: what it did, in order.
type listTxn struct {
	call
	ops []listOp
}

// listOp is an append of a value, or a read of a list.
type listOp struct {
	key    int64
	append int64 // zero for a read
	read   []int64
}

func (o listOp) String() string {
	if o.append != 0 {
		return fmt.Sprintf("append(%d, %d)", o.key, o.append)
	}
	return fmt.Sprintf("read(%d) = %v", o.key, o.read)
}

// txnsPerKey is how many transactions go by before the lists are left for new ones, so that they stay short.
const (
	txnsPerKey = 100
	liveKeys   = 3
)

func (l *lists) name() string { return "list-append" }

func (l *lists) prepare(ctx context.Context, admin *client.Client) error {
	return create(ctx, admin, "CREATE TABLE lab.lists (id BIGINT PRIMARY KEY, value TEXT) WITH (TYPE='SHARED')")
}

func (l *lists) clients(t *traffic) []func(context.Context) {
	var loops []func(context.Context)
	for range 4 {
		u := t.newUser(1)
		loops = append(loops, func(ctx context.Context) { l.step(ctx, u) })
	}
	return loops
}

// draw makes up a transaction.
func (l *lists) draw(u *user) []listOp {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := int64(l.count/txnsPerKey) * liveKeys
	l.count++
	ops := make([]listOp, 1+u.random.IntN(3))
	for i := range ops {
		ops[i].key = first + u.random.Int64N(liveKeys)
		if u.random.IntN(2) == 0 {
			l.value++
			ops[i].append = l.value
		}
	}
	return ops
}

func (l *lists) step(ctx context.Context, u *user) {
	txn := listTxn{ops: l.draw(u)}
	single := len(txn.ops) == 1
	txn.call = u.time(func() error {
		if single {
			return txn.ops[0].run(ctx, u.Client)
		}
		tx, err := u.Begin(ctx)
		if err != nil {
			return &notCommittedError{err}
		}
		for i := range txn.ops {
			if err = txn.ops[i].run(ctx, tx); err != nil {
				// Nothing takes effect before a COMMIT is sent, and none will be.
				return &notCommittedError{errors.Join(err, tx.Rollback(context.WithoutCancel(ctx)))}
			}
		}
		return tx.Commit(ctx)
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.txns = append(l.txns, txn)
}

// notCommittedError is a failure before the COMMIT: however it came about, nothing took effect.
type notCommittedError struct{ cause error }

func (n *notCommittedError) Error() string { return n.cause.Error() }

// As makes it an answer of the server that refuses.
func (n *notCommittedError) As(target any) bool {
	said, ok := target.(**client.Error)
	if ok {
		*said = &client.Error{Code: "NOT_COMMITTED", Message: n.cause.Error()}
	}
	return ok
}

// runner is a client or one of its transactions.
type runner interface {
	Exec(ctx context.Context, sql string, params ...any) ([]client.Result, error)
}

func (o *listOp) run(ctx context.Context, in runner) error {
	if o.append != 0 {
		text := strconv.FormatInt(o.append, 10)
		_, err := in.Exec(ctx, "INSERT INTO lab.lists (id, value) VALUES ($1, $2) "+
			"ON CONFLICT (id) DO UPDATE SET value = lists.value || $3", o.key, text, ","+text)
		return err
	}
	results, err := in.Exec(ctx, "SELECT value FROM lab.lists WHERE id = $1", o.key)
	if err != nil || len(results) != 1 || len(results[0].Rows) == 0 {
		return err
	}
	text, _ := results[0].Rows[0][0].(string)
	o.read, err = parseList(text)
	return err
}

func parseList(text string) ([]int64, error) {
	var list []int64
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("list %q: %w", text, err)
		}
		list = append(list, n)
	}
	return list, nil
}

// finish reads all lists at once, at every server.
func (l *lists) finish(ctx context.Context, t *traffic) error {
	for range size {
		u := t.newUser(10)
		var last listTxn
		var err error
		last.call = u.time(func() error {
			last.ops, err = readLists(ctx, u.Client, int64(l.count/txnsPerKey+1)*liveKeys)
			return err
		})
		if err != nil {
			return err
		}
		l.txns = append(l.txns, last)
	}
	return nil
}

func readLists(ctx context.Context, c *client.Client, count int64) ([]listOp, error) {
	ops := make([]listOp, count)
	for i := range ops {
		ops[i].key = int64(i)
	}
	result, err := c.Query(ctx, "SELECT id, value FROM lab.lists LIMIT 1000000")
	if err != nil {
		return nil, err
	}
	for _, row := range result.Rows {
		key, err := number(row[0])
		if err != nil {
			return nil, err
		}
		text, _ := row[1].(string)
		if ops[key].read, err = parseList(text); err != nil {
			return nil, err
		}
	}
	return ops, nil
}

func (l *lists) summary() string {
	counts := map[outcome]int{}
	for _, txn := range l.txns {
		counts[txn.outcome]++
	}
	return fmt.Sprintf("%d transactions, %d refused, %d unknown", len(l.txns), counts[refused], counts[unknown])
}

func (l *lists) judge() []anomaly { return judgeLists(l.name(), l.txns) }
