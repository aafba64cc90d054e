package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/server"
)

const password = "correct horse battery"

// TestChat: what one says is read by the other, who comes to a room with a past.
func TestChat(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Storage.DataPath, cfg.Auth.RootPassword, cfg.Auth.BcryptCost = t.TempDir(), password, 4
	cfg.Raft.LogSegmentBytes = 1 << 20
	node, err := server.Open(t.Context(), cfg, server.Options{APIListener: listener})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := node.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	enter := func(name string) (say io.WriteCloser, heard *bufio.Scanner, left chan error) {
		lines, say := io.Pipe()
		read, out := io.Pipe()
		left = make(chan error, 1)
		go func() {
			err := run(ctx, []string{"-url", "http://127.0.0.1:1,http://" + node.APIAddr(), "-password", password, "-name", name}, lines, out)
			_ = out.CloseWithError(err) // nobody reads what is left
			left <- err
		}()
		return say, bufio.NewScanner(read), left
	}
	hears := func(heard *bufio.Scanner, want string) {
		t.Helper()
		if !heard.Scan() || heard.Text() != want {
			t.Fatalf("heard %q (%v), want %q", heard.Text(), heard.Err(), want)
		}
	}
	ada, adaHears, adaLeft := enter("ada")
	if _, err := io.WriteString(ada, "is anybody here?\n"); err != nil {
		t.Fatal(err)
	}
	hears(adaHears, "ada: is anybody here?")
	ben, benHears, benLeft := enter("ben")
	hears(benHears, "ada: is anybody here?")
	if _, err := io.WriteString(ben, "yes\n"); err != nil {
		t.Fatal(err)
	}
	hears(adaHears, "ben: yes")
	hears(benHears, "ben: yes")
	for say, left := range map[io.Closer]chan error{ada: adaLeft, ben: benLeft} {
		if err := say.Close(); err != nil {
			t.Error(err)
		}
		if err := <-left; err != nil {
			t.Error(err)
		}
	}
}
