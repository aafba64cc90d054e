package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// This file looks after the disk while the node runs: how much is free, and whether it answers.

// ErrDiskHangs is how a node ends whose disk does not answer. It cannot be closed: who waits for the disk waits for ever.
// The process must end.
var ErrDiskHangs = errors.New("the process has to end")

// freeBytes is how much is free where the data lies.
func (n *Node) freeBytes() (int64, error) {
	usage, err := n.fs.GetDiskUsage(n.cfg.Storage.DataPath)
	if err != nil {
		return 0, fmt.Errorf("free bytes of %s: %w", n.cfg.Storage.DataPath, err)
	}
	return int64(usage.AvailBytes), nil
}

// watchDisk ends the node when a change of the disk does not come back within the limit. By then others lead its groups: if
// the log hangs, because who waits for it sends no heartbeats; if the store does, because the node hands them over when what it applies waits
// for the store, or half of the limit is over.
func (n *Node) watchDisk(ctx context.Context) {
	limit := n.cfg.Storage.HangLimit()
	if limit == 0 {
		return
	}
	extend, release := n.guardDisk(limit + guardGrace)
	defer release()
	for ctx.Err() == nil {
		extend()
		if err := n.fs.Hung(limit); err != nil {
			n.fail(fmt.Errorf("%w: %w; storage.hang_limit_secs = %d, look at the disk before you start the node again",
				ErrDiskHangs, err, n.cfg.Storage.HangLimitSecs))
			return
		}
		n.pause(ctx, min(limit/4, time.Second))
	}
}

// diskHangs is multiraft.Config.DiskHangs: a call has taken half as long as ends the node.
func (n *Node) diskHangs() bool {
	limit := n.cfg.Storage.HangLimit()
	return limit > 0 && n.fs.Hung(limit/2) != nil
}

// guardGrace is how much longer a process may stand still than a change of the disk may take.
const guardGrace = 30 * time.Second

// guardDisk lets writes of the log be waited for in place. Should that leave the process standing still, so that watchDisk
// does not come to look, it ends after the limit all the same. On a clock that is moved by hand no write is waited for so.
func (n *Node) guardDisk(limit time.Duration) (extend, release func()) {
	nothing := func() {}
	if _, runs := n.clock.(clock.Real); !runs {
		return nothing, nothing
	}
	guard, err := n.fs.Guard(limit)
	if err != nil {
		n.logger.Info("writes of the log are not waited for in place", slog.Any("error", err))
		return nothing, nothing
	}
	return func() {
		if err := guard.Extend(); err != nil {
			n.logger.Error("the process is about to be ended by the guard of the disk", slog.Any("error", err))
		}
	}, guard.Release
}
