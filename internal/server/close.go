package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// drainPatience bounds how long a closing node waits for its leaderships to move, and for each of the parts that end after that.
const drainPatience = 3 * time.Second

// Close takes the node down: it stops being ready, hands its leaderships over, lets requests under way
// finish, and closes log and store. What was acknowledged is durable already; ctx bounds the politeness.
func (n *Node) Close(ctx context.Context) error {
	var err error
	n.closing.Do(func() {
		close(n.draining)
		err = n.shutdown(ctx)
		close(n.closed)
		n.running.Wait()
	})
	return err
}

func (n *Node) shutdown(ctx context.Context) error {
	n.live.refuse()
	n.stopJobs()
	manager := n.engine()
	if manager != nil && manager.Failure() == nil {
		bound, cancel := context.WithTimeout(ctx, n.handOver)
		if answer := n.drain(bound, manager); answer.GetRefused() != "" {
			n.logger.Warn("the node stops before it has drained", slog.Any("reason", answer.GetRefused()))
		}
		cancel()
	}
	var errs []error
	closing, cancel := context.WithTimeout(ctx, drainPatience)
	n.live.close(closing)
	cancel()
	if n.api != nil {
		bound, cancel := context.WithTimeout(ctx, n.cfg.Server.ShutdownTimeout())
		if err := n.api.Shutdown(bound); err != nil {
			n.logger.Warn("requests under way were cut off", slog.Any("error", err))
			errs = append(errs, ignoreClosed(n.api.Close()))
		}
		cancel()
	}
	if n.sql != nil {
		n.sql.Close()
	}
	if n.storages != nil {
		n.storages.Close()
	}
	n.stop()
	if manager != nil {
		manager.Stop()
	}
	n.mu.Lock()
	solo := n.solo
	n.mu.Unlock()
	if solo != nil {
		solo.Stop()
	}
	n.local.stop()
	if n.network != nil {
		bound, cancel := context.WithTimeout(ctx, drainPatience)
		n.network.Stop(bound)
		cancel()
	}
	return errors.Join(append(errs, n.closeStores())...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// closeStores closes what openDirectory opened.
func (n *Node) closeStores() error {
	var errs []error
	if n.storeFS != nil {
		// What waits for room would hold up the rest; what it was to write is in the log.
		n.storeFS.Close()
	}
	if n.cold != nil {
		if err := n.cold.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close segments: %w", err))
		}
	}
	if n.log != nil {
		if err := n.log.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close the log: %w", err))
		}
	}
	if n.store != nil {
		// A clean stop leaves nothing to replay. A store that failed cannot be flushed; its log can.
		if n.store.Failure() == nil {
			if err := n.store.Flush(); err != nil {
				errs = append(errs, fmt.Errorf("flush the store: %w", err))
			}
		}
		if err := n.store.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close the store: %w", err))
		}
	}
	if n.lock != nil {
		if err := n.lock.Close(); err != nil {
			errs = append(errs, fmt.Errorf("unlock the data directory: %w", err))
		}
	}
	return errors.Join(errs...)
}

// abandon takes down a node that did not start.
func (n *Node) abandon() {
	bound, cancel := context.WithTimeout(context.Background(), drainPatience)
	defer cancel()
	if n.stop == nil {
		n.stop = func() {}
	}
	if err := n.Close(bound); err != nil {
		n.logger.Warn("a node that did not start could not be closed cleanly", slog.Any("error", err))
	}
}

// Status is what a node leads and how far it is behind, for the demo's status line.
type Status struct {
	Ready   bool
	Leading int    // groups led by this node
	Lag     uint64 // entries committed by their leaders and not applied here, over all groups
}

// Status reads the node's state.
func (n *Node) Status(ctx context.Context) Status {
	status := Status{Ready: clusterView{n}.Ready(ctx).Ready}
	manager := n.engine()
	if manager == nil {
		status.Leading = len(n.who().Shards.Groups())
		return status
	}
	info := n.describe(ctx, true)
	s := summarise(info, n.gossip.committed(liveMembers(n.catalog.Current())))
	status.Leading, status.Lag = s.leading, s.lag
	return status
}
