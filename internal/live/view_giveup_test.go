package live

import (
	"context"
	"strings"
	"testing"
)

// TestWhoLeavesTakesNobodyAlong: a client that goes away while the query that it asked for runs, as one of an event stream may, ends nobody else's
// live query of the same result.
func TestWhoLeavesTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	l := gameLab(t)
	l.sql("admin", "CREATE TABLE app.other (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED', ACCESS_LEVEL='public')")
	const sql = "SELECT COUNT(*) AS n FROM app.g"
	sink := &tape{}
	l.watchView("alice", sql, sink)
	l.sql("bot", "INSERT INTO app.other VALUES (1)") // the result may be another one for all that is known
	l.settle()
	looks := l.looks.Load()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := l.service.Subscribe(context.WithValue(ctx, leaving{}, cancel), callerOf("bob"), &tape{}, Request{ID: "b", SQL: sql, Initial: &Initial{}})
	if err == nil || l.looks.Load() == looks {
		t.Fatalf("the query was not given up while it ran: %v after %d runs", err, l.looks.Load()-looks)
	}
	l.settleViews()
	if told := sink.take(); told != "" {
		t.Errorf("who stays is told %s", told)
	}
	l.sql("bot", "INSERT INTO app.g VALUES (3, 'red', 30)")
	l.settleViews()
	if told := sink.take(); !strings.Contains(told, `"n":"3"`) {
		t.Errorf("who stays is told %q of a change", told)
	}
}
