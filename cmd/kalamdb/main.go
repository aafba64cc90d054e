// Command kalamdb is the database server.
//
// `kalamdb <config.toml>` (short for `kalamdb serve --config <config.toml>`) runs one node, standalone or as
// part of a cluster, until it is told to stop. The first SIGINT or SIGTERM drains it: it stops accepting,
// finishes what is under way and hands its leaderships over; a second one ends it at once, which loses
// nothing that was acknowledged. Logs go to standard error.
//
// Exit codes: 0 after a clean stop, 1 when the node failed, 2 when the command line or the configuration is
// wrong, 3 when a cluster command found or left something that is not as it should be.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // zones of SQL and of schedules on machines that have no files of them, as containers of one binary
)

// Exit codes of the process.
const (
	exitClean   = 0
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Once the first signal arrived, the next one has its usual effect and ends the process.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	root := newRootCommand(env, stderr)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitClean
	}
	_, _ = fmt.Fprintln(stderr, "kalamdb:", err) // the exit code says it too
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*degradedError](err); ok {
		return exitDegraded
	}
	return exitFailure
}

// usageError is a mistake in the command line or the configuration; the operator can correct it.
type usageError struct{ cause error }

// Error implements error.
func (e *usageError) Error() string { return e.cause.Error() }

// Unwrap returns what was wrong.
func (e *usageError) Unwrap() error { return e.cause }
