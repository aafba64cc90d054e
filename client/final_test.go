package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/client"
)

// TestConditionThatFails: a subscription whose query has no value for a row ends with that error, whether the row is changed, is behind the
// cursor or was there before; it does not try for ever. One that does not see the row goes on.
func TestConditionThatFails(t *testing.T) {
	n := start(t)
	c := n.connect()
	exec(t, c, "CREATE TABLE app.t (id BIGINT PRIMARY KEY, by BIGINT) WITH (TYPE='USER')")
	exec(t, c, "INSERT INTO app.t VALUES (1, 1)")
	ends := func(what, code string, live *client.Subscription) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		event, err := live.Next(ctx)
		var refused *client.Error
		if !errors.As(err, &refused) || refused.Code != code || !refused.Final {
			t.Errorf("%s: %+v, %v", what, event, err)
		}
	}
	const sql = "SELECT id FROM app.t WHERE 10 / by > 1"
	const sum = "SELECT SUM(10 / by) AS total FROM app.t"
	live, other := c.Subscribe(client.Live{SQL: sql}), c.Subscribe(client.Live{SQL: "SELECT id FROM app.t WHERE id <> 2 AND 10 / by > 1"})
	whole, both := c.Subscribe(client.Live{SQL: sum}), c.SubscribeAll(client.Live{SQL: "SELECT id FROM app.t"}, client.Live{SQL: sql})
	for _, s := range []*client.Subscription{live, other, whole, both} {
		defer s.Close()
	}
	expect(t, live, "rows 1", "ready")
	expect(t, other, "rows 1", "ready")
	expect(t, whole, "rows <nil>", "ready")
	expect(t, both, "rows 1", "ready", "rows 1", "ready", "cut")
	exec(t, c, "INSERT INTO app.t VALUES (2, 0)")
	exec(t, c, "INSERT INTO app.t VALUES (3, 1)")
	ends("a changed row", "SUBSCRIPTION_FAILED", live)
	ends("a row behind the cursor", "SUBSCRIPTION_FAILED", live)
	ends("a result", "SUBSCRIPTION_FAILED", whole)
	ends("a result from the beginning", "SUBSCRIPTION_FAILED", c.Subscribe(client.Live{SQL: sum}))
	ends("a row that was there", "BATCH_FETCH_FAILED", c.Subscribe(client.Live{SQL: sql}))
	expect(t, both, "insert 2")
	ends("one of two", "SUBSCRIPTION_FAILED", both)
	expect(t, other, "insert 3")
	exec(t, c, "UPDATE app.t SET by = 2 WHERE id = 2")
	again := c.Subscribe(client.Live{SQL: sql})
	defer again.Close()
	expect(t, again, "rows 1 3 2", "ready")
}
