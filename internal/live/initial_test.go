package live

import (
	"errors"
	"fmt"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestRetentionDuringInitialRows: while clients fetch what was there before, the changes behind their rows fall out of the
// log. Each that would have missed one is told so, and none is told of later changes; whoever missed nothing goes on.
func TestRetentionDuringInitialRows(t *testing.T) {
	t.Parallel()
	l := newLab(t, changefeed.Config{})
	l.sql("admin", "CREATE NAMESPACE app")
	for _, name := range []string{"busy", "quiet"} {
		l.sql("admin", "CREATE TABLE app."+name+" (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED', ACCESS_LEVEL='public')")
		l.sql("bot", "INSERT INTO app."+name+" VALUES (1), (2), (3), (4), (5)")
	}
	cursor := uint64(0)
	begin := func(name string, from *uint64) (*Subscription, *tape) {
		t.Helper()
		sink := &tape{}
		sub, err := l.service.Subscribe(t.Context(), callerOf("alice"), sink, Request{
			ID: name, SQL: "SELECT id FROM app." + name, Initial: &Initial{BatchSize: 2, From: from},
		})
		l.must(err)
		batch, err := sub.NextBatch(t.Context())
		l.must(err)
		if batch.Count != 2 || !batch.HasMore {
			t.Fatalf("%s: the first batch: %+v", name, batch)
		}
		if cursor == 0 {
			cursor = batch.LastSeq
		}
		return sub, sink
	}
	whole, wholeTold := begin("busy", nil)
	resumed, resumedTold := begin("busy", &cursor)
	quiet, quietTold := begin("quiet", nil)
	cut, failed, err := l.service.SubscribeCut(t.Context(), callerOf("alice"), &tape{}, []Request{
		{ID: "a", SQL: "SELECT id FROM app.busy", Initial: &Initial{BatchSize: 2}},
		{ID: "b", SQL: "SELECT id FROM app.quiet", Initial: &Initial{BatchSize: 2}},
	})
	if err != nil {
		t.Fatal(failed, err)
	}

	_, err = l.direct.Execute(t.Context(), whole.stream.group, &commandv1.Command{Body: &commandv1.Command_RetainChanges{
		RetainChanges: &commandv1.RetainChanges{Entries: 2},
	}})
	l.must(err)
	for i := range 20 {
		l.sql("bot", fmt.Sprintf("INSERT INTO app.busy VALUES (%d)", 10+i))
	}
	l.settle()

	fetch := func(sub *Subscription) (count int, err error) {
		for more := true; more; {
			batch, err := sub.NextBatch(t.Context())
			if err != nil {
				return count, err
			}
			count += batch.Count
			more = batch.HasMore
		}
		return count, nil
	}
	tooOld := func(what string, err error) {
		t.Helper()
		if known, ok := errors.AsType[*Error](err); !ok || known.Code != CodeCursorTooOld {
			t.Errorf("%s: %v, want %s", what, err, CodeCursorTooOld)
		}
	}
	count, err := fetch(whole)
	if err != nil || count != 3 {
		t.Errorf("%d further rows of those that were there, %v", count, err)
	}
	tooOld("the changes behind the rows", whole.Follow(t.Context(), noPace))
	_, err = fetch(resumed)
	tooOld("the next batch of a client that resumed", err)
	for _, sub := range cut.Subscriptions() {
		if count, err = fetch(sub); err != nil || count != 5 {
			t.Errorf("%s in a cut: %d rows, %v", sub.ID, count, err)
		}
		cut.Done(sub)
	}
	tooOld("the changes behind a cut", errors.Join(cut.CatchUp(t.Context(), noPace), cut.Follow(t.Context(), noPace)))
	for what, sink := range map[string]*tape{"rows that were there": wholeTold, "changes since a cursor": resumedTold} {
		if told := sink.take(); told != "" {
			t.Errorf("%s: a client with a gap is told %s", what, told)
		}
	}

	if count, err = fetch(quiet); err != nil || count != 3 {
		t.Errorf("%d further rows where nothing was missed, %v", count, err)
	}
	l.must(quiet.Follow(t.Context(), noPace))
	l.sql("bot", "INSERT INTO app.quiet VALUES (6)")
	l.settle()
	if told := quietTold.take(); told == "" {
		t.Error("a client that missed nothing does not go on")
	}
	for _, sub := range append(cut.Subscriptions(), whole, resumed, quiet) {
		sub.Close()
	}
	if l.service.Count() != 0 || l.service.cuts != 0 {
		t.Errorf("%d subscriptions and %d cuts are left", l.service.Count(), l.service.cuts)
	}
}
