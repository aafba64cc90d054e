package linear

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/kalamdb/kalamdb-go/client"
)

// bank are accounts between which money moves in transactions of several requests. Money is neither made nor lost, no
// account is overdrawn, and what a transaction reads is of one moment.
type bank struct {
	mu      sync.Mutex // guards what is below
	reads   []bankRead
	moved   int
	refused int
}

type bankRead struct {
	call
	balances []int64
}

const (
	accounts = 6
	deposit  = 100 // of each account in the beginning
)

func (b *bank) name() string { return "bank" }

func (b *bank) prepare(ctx context.Context, admin *client.Client) error {
	err := create(ctx, admin, "CREATE TABLE lab.accounts (id BIGINT PRIMARY KEY, balance BIGINT) WITH (TYPE='SHARED')")
	for id := range accounts {
		if err == nil {
			_, err = admin.Exec(ctx, "INSERT INTO lab.accounts (id, balance) VALUES ($1, $2)", id, deposit)
		}
	}
	return err
}

func (b *bank) clients(t *traffic) []func(context.Context) {
	var loops []func(context.Context)
	for range 3 {
		u := t.newUser(1)
		loops = append(loops, func(ctx context.Context) {
			if u.random.IntN(3) == 0 {
				_ = b.read(ctx, u) // a read that failed says nothing
				return
			}
			b.move(ctx, u)
		})
	}
	return loops
}

// errOverdrawn ends a transaction that would overdraw an account.
var errOverdrawn = errors.New("not enough money")

func (b *bank) move(ctx context.Context, u *user) {
	from, to := u.random.Int64N(accounts), u.random.Int64N(accounts)
	amount := 1 + u.random.Int64N(deposit/2)
	if from == to {
		return
	}
	err := u.Transact(ctx, func(tx *client.Tx) error {
		balances := map[int64]int64{}
		for _, id := range []int64{from, to} {
			result, err := tx.Query(ctx, "SELECT balance FROM lab.accounts WHERE id = $1", id)
			if err != nil {
				return err
			}
			if len(result.Rows) != 1 {
				return fmt.Errorf("account %d has %d rows", id, len(result.Rows))
			}
			if balances[id], err = number(result.Rows[0][0]); err != nil {
				return err
			}
		}
		if balances[from] < amount {
			return errOverdrawn
		}
		_, err := tx.Exec(ctx, "UPDATE lab.accounts SET balance = $1 WHERE id = $2", balances[from]-amount, from)
		if err == nil {
			_, err = tx.Exec(ctx, "UPDATE lab.accounts SET balance = $1 WHERE id = $2", balances[to]+amount, to)
		}
		return err
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.moved++
	} else {
		b.refused++
	}
}

func (b *bank) read(ctx context.Context, u *user) error {
	var balances []int64
	var err error
	c := u.time(func() error {
		var result *client.Result
		if result, err = u.Query(ctx, "SELECT balance FROM lab.accounts ORDER BY id"); err == nil {
			balances, err = numbers(result, 0)
		}
		return err
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads = append(b.reads, bankRead{call: c, balances: balances})
	return nil
}

func (b *bank) finish(ctx context.Context, t *traffic) error {
	for range size {
		if err := b.read(ctx, t.newUser(10)); err != nil {
			return err
		}
	}
	if b.moved == 0 {
		return errors.New("no money moved: the run shows nothing")
	}
	return nil
}

func (b *bank) summary() string {
	return fmt.Sprintf("%d transfers, %d that did not happen or nobody knows of, %d reads", b.moved, b.refused, len(b.reads))
}

func (b *bank) judge() []anomaly {
	var found []anomaly
	for _, r := range b.reads {
		total := int64(0)
		for _, balance := range r.balances {
			total += balance
			if balance < 0 {
				found = append(found, anomaly{workload: b.name(), kind: "overdrawn", text: fmt.Sprintf("%v: %v", r.balances, r.call)})
			}
		}
		if total != accounts*deposit || len(r.balances) != accounts {
			found = append(found, anomaly{
				workload: b.name(), kind: "money made or lost",
				text: fmt.Sprintf("%v are %d, want %d: %v", r.balances, total, accounts*deposit, r.call),
			})
		}
	}
	return found
}
