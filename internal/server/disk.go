package server

import (
	"context"
	"errors"
	"fmt"
	"time"
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

// watchDisk ends the node when a change of the disk does not come back within the limit. By then others lead its groups:
// who waits for the disk sends no heartbeats.
func (n *Node) watchDisk(ctx context.Context) {
	limit := n.cfg.Storage.HangLimit()
	if limit == 0 {
		return
	}
	for ctx.Err() == nil {
		if err := n.fs.Hung(limit); err != nil {
			n.fail(fmt.Errorf("%w: %w; storage.hang_limit_secs = %d, look at the disk before you start the node again",
				ErrDiskHangs, err, n.cfg.Storage.HangLimitSecs))
			return
		}
		n.pause(ctx, min(limit/4, time.Second))
	}
}
