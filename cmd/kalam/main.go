// Command kalam is the command line of KalamDB: statements of one call, files of statements, live queries, and a
// prompt for people.
//
// It speaks to a server through package client only, so it runs against any node of a cluster. What it prints as
// a result goes to standard output; errors, progress and questions go to standard error. Nothing it stores leaves
// ~/.kalam: config.toml, credentials.toml (readable by the owner alone) and history.
//
// Exit codes: 0 when everything ran, 1 when a statement failed, 2 when the command line or a file is wrong, 3 when
// no server could be reached or it does not accept the caller.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/kalamdb/kalamdb-go/client"
)

// Exit codes of the process.
const (
	exitClean       = 0
	exitFailure     = 1
	exitUsage       = 2
	exitUnreachable = 3
)

// process is what the program has of its surroundings; tests give it others.
type process struct {
	in     io.Reader
	out    io.Writer
	err    io.Writer
	env    func(string) string
	inTTY  bool // in is a terminal: there is somebody to ask
	outTTY bool // out is a terminal: there is somebody who reads
	errTTY bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], process{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv,
		inTTY: terminal(os.Stdin), outTTY: terminal(os.Stdout), errTTY: terminal(os.Stderr),
	}))
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, p process) int {
	root := newRootCommand(p)
	root.SetArgs(askedFor(args))
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitClean
	}
	if !errors.Is(err, errShown) {
		_, _ = fmt.Fprintln(p.err, describe(err)) // the exit code says it too
	}
	return exitCode(err)
}

// errShown marks an error that was printed where it happened.
var errShown = errors.New("the error was shown")

// usageError is a mistake in the command line or a file of the user; he can correct it.
type usageError struct{ cause error }

// Error implements error.
func (e *usageError) Error() string { return e.cause.Error() }

// Unwrap returns what was wrong.
func (e *usageError) Unwrap() error { return e.cause }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

func exitCode(err error) int {
	var refused *client.Error
	switch {
	case isUsage(err):
		return exitUsage
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
		return exitUnreachable
	case errors.As(err, &refused):
		return exitFailure
	case errors.Is(err, client.ErrUnauthorized), client.Unreachable(err):
		return exitUnreachable
	}
	return exitFailure
}

func isUsage(err error) bool {
	_, ok := errors.AsType[*usageError](err)
	return ok
}

// describe says an error as a person reads it: the code of the server first.
func describe(err error) string {
	var refused *client.Error
	switch {
	case errors.As(err, &refused):
		return "ERROR " + refused.Code + ": " + refused.Message
	case errors.Is(err, client.ErrUnauthorized):
		return "ERROR UNAUTHORIZED: " + err.Error()
	case errors.Is(err, client.ErrOutcomeUnknown):
		return "ERROR OUTCOME_UNKNOWN: " + err.Error() + "; look before you repeat it"
	case isUsage(err):
		return "kalam: " + err.Error()
	}
	return "ERROR: " + err.Error()
}
