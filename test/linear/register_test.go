package linear

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/kalamdb/kalamdb-go/client"
)

// registers are rows that are read, written, and written under a condition. A row that has seen some calls is left
// for the next one, so that each history stays short enough to be decided.
type registers struct {
	mu    sync.Mutex // guards what is below
	calls []registerCall
	count int // calls that were begun
}

// callsPerRegister is how many calls a row gets.
const callsPerRegister = 30

// registerCall is one call and what it said.
type registerCall struct {
	call
	key      int64
	kind     string // read, write, cas
	value    int64  // read or to write; nothing means no row
	expected int64  // of a cas
	applied  bool   // of a cas
}

const nothing = int64(-1)

func (r *registers) name() string { return "register" }

func (r *registers) prepare(ctx context.Context, admin *client.Client) error {
	return create(ctx, admin,
		"CREATE TABLE lab.shared_register (id BIGINT PRIMARY KEY, value BIGINT) WITH (TYPE='SHARED')",
		"CREATE TABLE lab.private_register (id BIGINT PRIMARY KEY, value BIGINT) WITH (TYPE='USER')")
}

func (r *registers) clients(t *traffic) []func(context.Context) {
	var loops []func(context.Context)
	for i := range 5 {
		u := t.newUser(1 + i%2*5)
		loops = append(loops, func(ctx context.Context) { r.step(ctx, u) })
	}
	return loops
}

// pick chooses the row of the next call: one of two at a time.
func (r *registers) pick(u *user) (key int64, table string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key = int64(r.count/(2*callsPerRegister))*2 + u.random.Int64N(2)
	r.count++
	if key%2 == 0 {
		return key, "lab.shared_register"
	}
	return key, "lab.private_register"
}

func (r *registers) step(ctx context.Context, u *user) {
	key, table := r.pick(u)
	c := registerCall{key: key, value: u.random.Int64N(5), expected: u.random.Int64N(5)}
	switch chance := u.random.IntN(10); {
	case chance < 5:
		c.kind = "read"
		c.call = u.time(func() (err error) {
			c.value, err = readRegister(ctx, u.Client, table, key)
			return err
		})
		if c.outcome != done {
			return // it says nothing
		}
	case chance < 8:
		c.kind = "write"
		c.call = u.time(func() error {
			_, err := u.Exec(ctx, "INSERT INTO "+table+" (id, value) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET value = excluded.value",
				key, c.value)
			return err
		})
	default:
		c.kind = "cas"
		if c.value == c.expected {
			c.value++ // an update to the same value counts no row
		}
		c.call = u.time(func() error {
			results, err := u.Exec(ctx, "UPDATE "+table+" SET value = $1 WHERE id = $2 AND value = $3", c.value, key, c.expected)
			if err != nil {
				return err
			}
			c.applied = len(results) == 1 && results[0].RowCount == 1
			return nil
		})
	}
	if c.outcome == refused {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, c)
}

func readRegister(ctx context.Context, c *client.Client, table string, key int64) (int64, error) {
	result, err := c.Query(ctx, "SELECT value FROM "+table+" WHERE id = $1", key)
	if err != nil {
		return nothing, err
	}
	if len(result.Rows) == 0 {
		return nothing, nil
	}
	return number(result.Rows[0][0])
}

// finish reads every row once more, at every server.
func (r *registers) finish(ctx context.Context, t *traffic) error {
	last := int64(r.count/(2*callsPerRegister))*2 + 2
	for range size {
		u := t.newUser(10)
		for key := max(0, last-8); key < last; key++ {
			table := [...]string{"lab.shared_register", "lab.private_register"}[key%2]
			c := registerCall{key: key, kind: "read"}
			var err error
			c.call = u.time(func() error {
				c.value, err = readRegister(ctx, u.Client, table, key)
				return err
			})
			if err != nil {
				return err
			}
			r.calls = append(r.calls, c)
		}
	}
	return nil
}

func (r *registers) summary() string { return fmt.Sprintf("%d calls", len(r.calls)) }

// registerModel is what one row does.
func registerModel() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			var order []int64
			rows := map[int64][]porcupine.Operation{}
			for _, op := range history {
				key := op.Input.(registerCall).key //nolint:forcetypeassert,errcheck // the lab makes nothing else
				if rows[key] == nil {
					order = append(order, key)
				}
				rows[key] = append(rows[key], op)
			}
			var all [][]porcupine.Operation
			for _, key := range order {
				all = append(all, rows[key])
			}
			return all
		},
		Init: func() any { return nothing },
		Step: func(state, input, _ any) (bool, any) {
			value, c := state.(int64), input.(registerCall) //nolint:forcetypeassert,errcheck // the lab makes nothing else
			switch {
			case c.kind == "read":
				return c.value == value, value
			case c.kind == "write":
				return true, c.value
			case c.outcome == unknown:
				if value == c.expected {
					return true, c.value
				}
				return true, value
			case c.applied:
				return value == c.expected, c.value
			}
			return value != c.expected, value
		},
		DescribeOperation: func(input, _ any) string {
			c := input.(registerCall) //nolint:forcetypeassert,errcheck // the lab makes nothing else
			switch c.kind {
			case "read":
				return fmt.Sprintf("read %d", c.value)
			case "write":
				return fmt.Sprintf("write %d (%v)", c.value, c.outcome)
			}
			return fmt.Sprintf("cas %d to %d: %v (%v)", c.expected, c.value, c.applied, c.outcome)
		},
	}
}

// decisionPatience bounds the decision about all registers; an undecided history is a failure.
const decisionPatience = 2 * time.Minute

func (r *registers) judge() []anomaly {
	history := make([]porcupine.Operation, len(r.calls))
	for i, c := range r.calls {
		history[i] = porcupine.Operation{
			ClientId: c.client, Input: c, Call: int64(c.begin), Output: c, Return: int64(c.until()),
		}
	}
	result, info := porcupine.CheckOperationsVerbose(registerModel(), history, decisionPatience)
	if result == porcupine.Ok {
		return nil
	}
	var page bytes.Buffer
	found := anomaly{workload: r.name(), kind: "not linearizable", text: "no order of the calls explains what a row answered; see the page"}
	if result == porcupine.Unknown {
		found.kind, found.text = "undecided", fmt.Sprintf("not decided within %v", decisionPatience)
	}
	if err := porcupine.Visualize(registerModel(), info, &page); err != nil {
		found.text += ": " + err.Error()
	}
	found.page = page.Bytes()
	return []anomaly{found}
}
