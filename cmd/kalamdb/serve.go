package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/server"
)

// closePatience is what a stopping node gets beyond the time for requests under way: to hand leaderships
// over and to close its log and store.
const closePatience = 15 * time.Second

// serve runs one node with the configuration at path until ctx ends or the node fails.
func serve(ctx context.Context, path string, env func(string) string, logs io.Writer) error {
	cfg, warnings, err := config.Load(path, env)
	if err != nil {
		return &usageError{err}
	}
	if _, err = auth.CheckSecret(cfg.Auth.JWTSecret, cfg.Server.Loopback()); err != nil {
		return &usageError{err}
	}
	logger := newLogger(cfg.Logging, logs)
	for _, warning := range warnings {
		logger.LogAttrs(ctx, slog.LevelWarn, "configuration", slog.String("warning", warning.Message), slog.Any("keys", warning.Keys))
	}
	tuneRuntime(cfg.Performance)
	for {
		// A node that found its files damaged starts again, as a new replica that the others fill.
		err := serveOnce(ctx, cfg, logger)
		if !errors.Is(err, server.ErrDamaged) || ctx.Err() != nil {
			return err
		}
	}
}

// serveOnce runs a node from its start to its end.
func serveOnce(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	node, err := server.Open(ctx, cfg, server.Options{Logger: logger, Build: readBuild()})
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "node is running",
		slog.String("version", readBuild().Version), slog.String("api_addr", node.APIAddr()), slog.String("rpc_addr", node.RPCAddr()),
		slog.String("data_path", cfg.Storage.DataPath), slog.Bool("standalone", cfg.Standalone()))

	ended := make(chan error, 1)
	go func() { ended <- node.Wait() }()
	var failure error
	select {
	case <-ctx.Done():
		logger.LogAttrs(ctx, slog.LevelInfo, "stopping; a second signal ends the process at once")
	case failure = <-ended:
	}
	if errors.Is(failure, server.ErrDiskHangs) {
		return fmt.Errorf("run: %w", failure)
	}
	err = errors.Join(failure, closeWithin(context.WithoutCancel(ctx), node.Close, cfg.Server.ShutdownTimeout()+closePatience, closePatience))
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "stopped")
	return nil
}

// errNotClosed is how a process ends whose node waits for something that never comes, a disk or a store that has failed.
var errNotClosed = errors.New("the node could not be closed; the process ends all the same, since what was acknowledged is durable")

// closeWithin closes a node. It is asked to be done by the bound; after some grace nobody waits for it any more.
func closeWithin(ctx context.Context, closeNode func(context.Context) error, bound, grace time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- closeNode(bounded) }()
	select {
	case err := <-closed:
		return err
	case <-time.After(bound + grace):
		return fmt.Errorf("%w: it was given %v", errNotClosed, bound+grace)
	}
}

// newLogger writes what the configuration asks for.
func newLogger(cfg config.Logging, logs io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: logLevel(cfg.Level)}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(logs, options))
	}
	return slog.New(slog.NewTextHandler(logs, options))
}

// logLevel reads a level that config.Validate accepted.
func logLevel(word string) slog.Level {
	switch word {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// tuneRuntime sets how much memory the process takes; zero leaves the runtime's own setting, which the
// environment variables GOGC and GOMEMLIMIT may have changed.
func tuneRuntime(cfg config.Performance) {
	if cfg.GCPercent != 0 {
		debug.SetGCPercent(cfg.GCPercent)
	}
	if cfg.MemoryLimitBytes > 0 {
		debug.SetMemoryLimit(cfg.MemoryLimitBytes)
	}
}
