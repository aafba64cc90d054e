package client_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/client"
)

// TestViewOfSomeRows: changes of rows that were not given, because only the newest were asked for or because they were given before, fit the rows
// that are kept.
func TestViewOfSomeRows(t *testing.T) {
	n := start(t)
	c := n.connect()
	exec(t, c, "CREATE TABLE app.t (id BIGINT PRIMARY KEY, body TEXT, note TEXT) WITH (TYPE='USER')")
	exec(t, c, "INSERT INTO app.t VALUES (1, 'a', 'x'), (2, 'b', NULL), (3, 'c', NULL)")
	newest := c.Subscribe(client.Live{SQL: "SELECT * FROM app.t", LastRows: 1})
	defer newest.Close()
	view := client.NewView("id")
	until := func(live *client.Subscription, view *client.View, kind client.EventKind) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for {
			event, err := live.Next(ctx)
			if err == nil {
				err = view.Apply(event)
			}
			if err != nil {
				t.Fatal(err)
			}
			if event.Kind == kind {
				return
			}
		}
	}
	until(newest, view, client.Ready)
	cursor := newest.Cursor()
	exec(t, c, "UPDATE app.t SET note = NULL, body = 'aa' WHERE id = 1")
	exec(t, c, "DELETE FROM app.t WHERE id = 2")
	exec(t, c, "UPDATE app.t SET body = 'aaa' WHERE id = 1")
	exec(t, c, "INSERT INTO app.t VALUES (4, 'd', NULL)")
	until(newest, view, client.Insert)
	later := client.NewView("id")
	resumed := c.Subscribe(client.Live{SQL: "SELECT * FROM app.t", From: &cursor})
	defer resumed.Close()
	until(resumed, later, client.Insert)
	for name, kept := range map[string]struct {
		view *client.View
		want []string
	}{"the newest": {view, []string{"3 c", "1 aaa", "4 d"}}, "behind a cursor": {later, []string{"1 aaa", "4 d"}}} {
		var got []string
		for _, row := range kept.view.Rows() {
			got = append(got, fmt.Sprint(row["id"], " ", row["body"]))
		}
		if diff := cmp.Diff(kept.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
