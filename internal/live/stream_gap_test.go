package live

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestGapOfTheStreamIsNotOfAll: a stream falls behind what the log keeps. Who began with rows that the stream had not come to misses
// nothing of what is kept, and goes on; who has not seen what was dropped is told so.
func TestGapOfTheStreamIsNotOfAll(t *testing.T) {
	t.Parallel()
	l := newLab(t, changefeed.Config{})
	l.sql("admin", "CREATE NAMESPACE app")
	l.sql("admin", "CREATE TABLE app.busy (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED', ACCESS_LEVEL='public')")
	begin := func(name string) (*Subscription, *tape) {
		sink := &tape{}
		sub, err := l.service.Subscribe(t.Context(), callerOf("alice"), sink, Request{ID: name, SQL: "SELECT id FROM app.busy"})
		l.must(err)
		l.must(sub.Follow(t.Context(), noPace))
		return sub, sink
	}
	early, earlyTold := begin("early")
	stream := early.stream
	stream.mu.Lock()
	behind := stream.position
	stream.mu.Unlock()
	_, err := l.direct.Execute(t.Context(), stream.group, &commandv1.Command{Body: &commandv1.Command_RetainChanges{
		RetainChanges: &commandv1.RetainChanges{Entries: 2},
	}})
	l.must(err)
	for i := range 10 {
		l.sql("bot", fmt.Sprintf("INSERT INTO app.busy VALUES (%d)", i))
	}
	l.settle()
	_, lateTold := begin("late")
	l.sql("bot", "INSERT INTO app.busy VALUES (77)")
	l.settle()
	earlyTold.take()
	lateTold.take()

	stream.mu.Lock()
	stream.position = behind // as if it had not run since
	stream.mu.Unlock()
	l.must(stream.reread(behind))

	if told := earlyTold.take(); !strings.HasPrefix(told, "early: ended, ") || !strings.Contains(told, string(CodeCursorTooOld)) || strings.Contains(told, "77") {
		t.Errorf("who missed changes is told %q", told)
	}
	if told := lateTold.take(); !strings.Contains(told, `"id":"77"`) || strings.Contains(told, "ended") || strings.Count(told, "late: ") != 1 {
		t.Errorf("who missed nothing is told %q", told)
	}
	l.sql("bot", "INSERT INTO app.busy VALUES (78)")
	l.settle()
	if told := lateTold.take(); !strings.Contains(told, `"id":"78"`) {
		t.Errorf("who missed nothing is told %q of what comes next", told)
	}
}
