package client_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/kalamdb/kalamdb-go/client"
)

func TestTransactions(t *testing.T) {
	n := start(t)
	c := n.connect()
	exec(t, c, "CREATE NAMESPACE shop")
	exec(t, c, "CREATE TABLE shop.stock (id BIGINT PRIMARY KEY, n BIGINT)")
	exec(t, c, "INSERT INTO shop.stock VALUES (1, 0), (2, 0)")

	tx, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = tx.Exec(t.Context(), "UPDATE shop.stock SET n = $1 WHERE id = 1", 99); err != nil {
		t.Fatal(err)
	}
	got, err := tx.Query(t.Context(), "SELECT n FROM shop.stock WHERE id = 1")
	if err != nil || got.Rows[0][0] != "99" {
		t.Fatalf("inside: %v, %v", got, err)
	}
	if err = tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err = tx.Rollback(t.Context()); err != nil {
		t.Errorf("a second rollback: %v", err)
	}

	// What a function refuses is rolled back and returned.
	refused := errors.New("changed my mind")
	err = c.Transact(t.Context(), func(tx *client.Tx) error {
		_, failed := tx.Exec(t.Context(), "UPDATE shop.stock SET n = 7 WHERE id = 2")
		return errors.Join(failed, refused)
	})
	if !errors.Is(err, refused) {
		t.Errorf("got %v, want what the function returned", err)
	}

	// A conflict is told apart.
	tx, err = c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = tx.Exec(t.Context(), "UPDATE shop.stock SET n = n + 1 WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	exec(t, c, "UPDATE shop.stock SET n = 0 WHERE id = 1 OR id = 2")
	exec(t, c, "UPDATE shop.stock SET n = n + 1 WHERE id = 1")
	exec(t, c, "UPDATE shop.stock SET n = n - 1 WHERE id = 1")
	if err = tx.Commit(t.Context()); !errors.Is(err, client.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}

	// Transact runs them again: moving from one row to the other keeps the sum.
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 3 {
				if failed := c.Transact(context.WithoutCancel(t.Context()), move); failed != nil {
					t.Error(failed)
				}
			}
		})
	}
	running.Wait()
	got, err = c.Query(t.Context(), "SELECT n FROM shop.stock ORDER BY id")
	if err != nil || got.Rows[0][0] != "-12" || got.Rows[1][0] != "12" {
		t.Errorf("after 12 moves: %v, %v", got, err)
	}
}

// move takes one from the first row and adds it to the second.
func move(tx *client.Tx) error {
	for _, sql := range []string{
		"UPDATE shop.stock SET n = n - 1 WHERE id = 1", "UPDATE shop.stock SET n = n + 1 WHERE id = 2",
	} {
		if _, err := tx.Exec(context.Background(), sql); err != nil {
			return err
		}
	}
	return nil
}
