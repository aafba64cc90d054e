package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/server"
)

const password = "correct horse battery"

// TestPresence: who comes is seen by the other, and counted; who goes without a word is gone when the last sign of life is over.
func TestPresence(t *testing.T) {
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
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	come := func(name string) (sees *bufio.Scanner, leave func()) {
		read, out := io.Pipe()
		here, cancel := context.WithCancel(ctx)
		gone := make(chan error, 1)
		go func() {
			err := run(here, []string{"-url", "http://" + node.APIAddr(), "-password", password, "-name", name, "-room", "lobby", "-seconds", "1"}, out)
			_ = out.CloseWithError(err) // nobody reads what is left
			gone <- err
		}()
		return bufio.NewScanner(read), func() {
			cancel()
			_ = read.CloseWithError(io.EOF) // what is still said is heard by nobody
			if err := <-gone; err != nil && !errors.Is(err, context.Canceled) && !strings.Contains(err.Error(), "context canceled") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	// Whoever is slow may be gone and come again meanwhile: what must be seen comes in this order, with anything between.
	sees := func(who *bufio.Scanner, wanted ...string) {
		t.Helper()
		for len(wanted) > 0 && who.Scan() {
			if who.Text() == wanted[0] {
				wanted = wanted[1:]
			}
		}
		if len(wanted) > 0 {
			t.Fatalf("%q was not seen: %v", wanted[0], who.Err())
		}
	}
	ada, adaLeaves := come("ada")
	sees(ada, "ada is in lobby")
	ben, benLeaves := come("ben")
	sees(ada, "ben is in lobby")
	sees(ben, "lobby: 2")
	benLeaves()
	sees(ada, "ben has left lobby")
	adaLeaves()
}
