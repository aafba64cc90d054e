package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// restartCase is the line of `bench restart`.
type restartCase struct {
	Log         string  `json:"log"`
	Groups      int     `json:"groups"`
	LogMiB      float64 `json:"log_mib"`
	WriteSecs   float64 `json:"write_s"`
	OpenSecs    float64 `json:"open_s"`
	FirstWriteS float64 `json:"ready_s"`
}

// restartPayload is the size of one command of `bench restart`, restartClients how many write at once.
const (
	restartPayload = 16 << 10
	restartClients = 64
)

// Restart fills the log of a standalone node with at least so many bytes, stops it without flushing its store, and
// measures how long opening it again takes, and how long until the first write is answered.
func Restart(ctx context.Context, bytes int64, log string, out io.Writer) error {
	if err := checkLog(log); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "kalamdb-bench-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, "remove the data:", err)
		}
	}()
	n := &soloNode{dir: dir, kept: log, groups: shard.Default().Groups()}
	started := time.Now()
	if err := n.fill(ctx, bytes); err != nil {
		return err
	}
	result := restartCase{Log: log, Groups: len(n.groups), WriteSecs: round(time.Since(started).Seconds())}
	started = time.Now()
	if err := n.open(); err != nil {
		return err
	}
	result.OpenSecs = round(time.Since(started).Seconds())
	if err := n.write(ctx, 0); err != nil {
		return err
	}
	result.FirstWriteS = round(time.Since(started).Seconds())
	result.LogMiB = round(float64(n.log.Stats().LiveBytes) / (1 << 20))
	if err := n.close(); err != nil {
		return err
	}
	return printJSON(out, result)
}

// soloNode is a standalone engine that stores every command.
type soloNode struct {
	dir    string
	kept   string // what the log is kept in
	groups []shard.GroupID
	store  *storage.Engine
	log    multiraft.OwnLog
	solo   *multiraft.Solo
	next   atomic.Uint64
}

func (n *soloNode) open() (err error) {
	if n.store, err = storage.Open(storage.Options{FS: disk.Local(), Dir: filepath.Join(n.dir, "store")}); err != nil {
		return err
	}
	if n.log, err = openLog(n.kept, disk.Local(), filepath.Join(n.dir, "log")); err != nil {
		return err
	}
	if n.next.Load() == 0 {
		if err = multiraft.Found(n.store, n.log, n.groups, 1); err != nil {
			return err
		}
	}
	n.solo, err = multiraft.OpenSolo(multiraft.Config{
		Replica: 1, Groups: n.groups, Engine: n.store, Log: n.log, Clock: clock.Real{}, Logger: slog.New(slog.DiscardHandler),
		StateMachines: func(g shard.GroupID) multiraft.StateMachine { return newMachine(g, true) },
		RetainEntries: 1 << 40, RetainBytes: 1 << 40,
	})
	if err != nil {
		return err
	}
	n.solo.Start()
	return nil
}

// close stops the node as a crash would leave it: what the store has not flushed is lost.
func (n *soloNode) close() error {
	n.solo.Stop()
	return errors.Join(n.log.Close(), n.store.Close())
}

func (n *soloNode) fill(ctx context.Context, bytes int64) error {
	if err := n.open(); err != nil {
		return err
	}
	var clients sync.WaitGroup
	var failure atomic.Pointer[error]
	for i := range restartClients {
		clients.Go(func() {
			for at := i; int64(n.next.Load())*restartPayload < bytes && failure.Load() == nil; at++ {
				if err := n.write(ctx, at); err != nil {
					failure.Store(&err)
				}
			}
		})
	}
	clients.Wait()
	if err := failure.Load(); err != nil {
		return *err
	}
	return n.close()
}

// write proposes one command to a group.
func (n *soloNode) write(ctx context.Context, at int) error {
	number := n.next.Add(1)
	payload := make([]byte, restartPayload)
	binary.BigEndian.PutUint64(payload, number)
	var id ident.RequestID
	binary.BigEndian.PutUint64(id[:], number)
	_, _, err := n.solo.Propose(ctx, n.groups[at%len(n.groups)], id, payload)
	return err
}
