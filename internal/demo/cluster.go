package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/server"
)

// cluster is the nodes of a demo.
type cluster struct {
	nodes []*server.Node
}

// ports are the listeners of one node, opened before any node starts so that all know each other.
type ports struct{ api, rpc net.Listener }

// openCluster starts all nodes; they found and join their cluster in the background.
func openCluster(ctx context.Context, dir string, options Options) (*cluster, error) {
	listeners, err := listen(ctx, options)
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.NewTextHandler(options.Out, &slog.HandlerOptions{Level: levelOf(options.LogLevel)}))
	secret := rand.Text() + rand.Text()
	c := &cluster{}
	for i, own := range listeners {
		node, err := server.Open(ctx, nodeConfig(dir, secret, i, listeners), server.Options{
			Logger: logger.With(slog.Int("node", i+1)), APIListener: own.api, RPCListener: own.rpc,
		})
		if err != nil {
			for _, unused := range listeners[i+1:] {
				err = errors.Join(err, unused.api.Close(), unused.rpc.Close())
			}
			return nil, errors.Join(fmt.Errorf("open node %d: %w", i+1, err), c.close())
		}
		c.nodes = append(c.nodes, node)
	}
	return c, nil
}

// listen opens two listeners for each node. When one cannot be opened, all are closed.
func listen(ctx context.Context, options Options) ([]ports, error) {
	var opened []ports
	var open net.ListenConfig
	for i := range options.Nodes {
		port := 0
		if options.HTTPPort > 0 {
			port = options.HTTPPort + i
		}
		api, err := open.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			var rpc net.Listener
			if rpc, err = open.Listen(ctx, "tcp", "127.0.0.1:0"); err == nil {
				opened = append(opened, ports{api, rpc})
				continue
			}
			err = errors.Join(err, api.Close())
		}
		for _, unused := range opened {
			err = errors.Join(err, unused.api.Close(), unused.rpc.Close())
		}
		return nil, fmt.Errorf("listen for node %d: %w", i+1, err)
	}
	return opened, nil
}

// nodeConfig is the configuration of one node, as a file would say it.
func nodeConfig(dir, secret string, node int, all []ports) *config.Config {
	cfg := config.Default()
	cfg.Storage.DataPath = filepath.Join(dir, fmt.Sprintf("node%d", node+1))
	cfg.Auth.RootPassword, cfg.Auth.JWTSecret = rootPassword, secret
	cfg.RateLimit.MaxQueriesPerSec = 0 // the writer is one user
	cfg.Cluster.ClusterID = "demo"
	cfg.Cluster.NodeID = uint64(node) + 1 //nolint:gosec // at most maxNodes
	cfg.Cluster.RPCAddr = all[node].rpc.Addr().String()
	cfg.Cluster.APIAddr = all[node].api.Addr().String()
	for i, other := range all {
		cfg.Cluster.Peers = append(cfg.Cluster.Peers, config.Peer{
			NodeID: uint64(i) + 1, RPCAddr: other.rpc.Addr().String(), APIAddr: other.api.Addr().String(),
		})
	}
	return cfg
}

func levelOf(word string) slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(word)); err != nil {
		return slog.LevelError
	}
	return level
}

func (c *cluster) url(node int) string { return "http://" + c.nodes[node].APIAddr() }

// waitReady returns when every node would be sent clients.
func (c *cluster) waitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i, node := range c.nodes {
		for !node.Status(ctx).Ready {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("node %d: %w", i+1, context.Cause(ctx))
			}
		}
	}
	return nil
}

// watch calls fail when a node stops by itself. Its goroutines end when the nodes are closed.
func (c *cluster) watch(fail context.CancelCauseFunc) {
	for i, node := range c.nodes {
		go func() {
			if err := node.Wait(); err != nil {
				fail(fmt.Errorf("node %d stopped: %w", i+1, err))
			}
		}()
	}
}

// close takes all nodes down at once and waits for them.
func (c *cluster) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	var running sync.WaitGroup
	errs := make([]error, len(c.nodes))
	for i, node := range c.nodes {
		running.Go(func() {
			if err := node.Close(ctx); err != nil {
				errs[i] = fmt.Errorf("close node %d: %w", i+1, err)
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}
