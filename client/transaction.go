package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const transactionHeader = "X-Transaction-ID"

// ErrConflict says that another change got in the way of a transaction, which was rolled back: it may succeed when
// it is run again from its start.
var ErrConflict = errors.New("another change got in the way of the transaction")

// Tx is an open transaction. It belongs to one goroutine, and its statements go to the node where it began. It
// must be ended with Commit or Rollback; Transact does that.
type Tx struct {
	client *Client
	base   string
	id     string
	ended  bool
}

// Begin starts a transaction. Its statements see one moment and its own changes, and take effect together with
// Commit, as if nobody else had done anything in between; or not at all.
func (c *Client) Begin(ctx context.Context) (*Tx, error) {
	var last error
	for attempt := 1; attempt <= c.config.Attempts; attempt++ {
		base := c.url()
		response, err := c.try(ctx, base, Request{SQL: "BEGIN"}, &once{transaction: "new"})
		switch {
		case err == nil && response.transaction == "":
			return nil, fmt.Errorf("%s does not know transactions over several requests", base)
		case err == nil:
			return &Tx{client: c, base: base, id: response.transaction}, nil
		}
		var refused *Error
		var again *retryable
		if ctx.Err() != nil || errors.As(err, &refused) && !errors.As(err, &again) {
			return nil, err
		}
		// A transaction of which nobody knows the id writes nothing and ends by itself.
		last = err
		c.leave(base)
		least := time.Duration(0)
		if again != nil {
			least = again.after
		}
		if err := c.pause(ctx, attempt, least); err != nil {
			return nil, errors.Join(err, last)
		}
	}
	return nil, fmt.Errorf("gave up after %d attempts: %w", c.config.Attempts, last)
}

// ID is the server's name for the transaction.
func (t *Tx) ID() string { return t.id }

// Exec runs one statement or a batch inside the transaction. It is sent again only when the node was too busy to
// look at it; after any other error the transaction has ended, unless a savepoint is left to roll back to.
func (t *Tx) Exec(ctx context.Context, sql string, params ...any) ([]Result, error) {
	if t.ended {
		return nil, errors.New("the transaction has ended")
	}
	for attempt := 1; ; attempt++ {
		response, err := t.client.try(ctx, t.base, Request{SQL: sql, Params: params}, &once{transaction: t.id})
		if err == nil {
			t.ended = response.transaction == ""
			return response.Results, nil
		}
		var refused *Error
		var again *retryable
		if !errors.As(err, &again) || !errors.As(err, &refused) || refused.Status != http.StatusTooManyRequests || attempt == t.client.config.Attempts {
			return nil, inTransaction(err)
		}
		if err := t.client.pause(ctx, attempt, again.after); err != nil {
			return nil, errors.Join(err, refused)
		}
	}
}

// Query is Exec for a statement that gives rows.
func (t *Tx) Query(ctx context.Context, sql string, params ...any) (*Result, error) {
	results, err := t.Exec(ctx, sql, params...)
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, fmt.Errorf("the statement gave %d results, want 1", len(results))
	}
	return &results[0], nil
}

// Commit makes the changes take effect. The error wraps ErrConflict when it may be run again, and
// ErrOutcomeUnknown when the answer was lost: it may have taken effect then.
func (t *Tx) Commit(ctx context.Context) error {
	_, err := t.Exec(ctx, "COMMIT")
	t.ended = true
	return err
}

// Rollback ends the transaction without effect. It does nothing when that has ended already.
func (t *Tx) Rollback(ctx context.Context) error {
	if t.ended {
		return nil
	}
	_, err := t.Exec(ctx, "ROLLBACK")
	t.ended = true
	var refused *Error
	if errors.As(err, &refused) && refused.Code == "TRANSACTION_NOT_FOUND" {
		return nil // a failed statement has ended it
	}
	return err
}

// inTransaction is the error of a statement, which is not sent again whatever the server says.
func inTransaction(err error) error {
	var refused *Error
	if errors.As(err, &refused) && refused.Status == http.StatusConflict {
		return fmt.Errorf("%w: %w", ErrConflict, refused)
	}
	if again, ok := errors.AsType[*retryable](err); ok {
		return again.cause
	}
	return err
}

// Transact runs a function inside a transaction and commits. The function is run again, in a new transaction,
// when another change got in the way, so it must have no effects of its own; any other error of it rolls back
// and is returned.
func (c *Client) Transact(ctx context.Context, run func(tx *Tx) error) error {
	var last error
	for attempt := 1; attempt <= c.config.Attempts; attempt++ {
		tx, err := c.Begin(ctx)
		if err != nil {
			return err
		}
		if err = run(tx); err == nil && !tx.ended {
			err = tx.Commit(ctx)
		}
		if err == nil {
			return nil
		}
		err = errors.Join(err, tx.abandon(ctx))
		if !errors.Is(err, ErrConflict) || errors.Is(err, ErrOutcomeUnknown) {
			return err
		}
		last = err
		if err := c.pause(ctx, attempt, 0); err != nil {
			return errors.Join(err, last)
		}
	}
	return fmt.Errorf("gave up after %d attempts: %w", c.config.Attempts, last)
}

// rollbackPatience bounds how long a transaction that failed is taken care of.
const rollbackPatience = 5 * time.Second

// abandon rolls back, also when the context of the transaction has ended. What it cannot reach ends by itself.
func (t *Tx) abandon(ctx context.Context) error {
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackPatience)
	defer cancel()
	if err := t.Rollback(bound); err != nil && ctx.Err() == nil {
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}
