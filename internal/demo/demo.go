// Package demo runs a small cluster in one process, for a first look and as a smoke test.
//
// Run opens several nodes of package server on loopback ports, each with a data directory of its own, joined
// by gRPC like nodes on machines of their own. It creates a namespace, a table and a user through the public
// interface, prints how to reach them, and keeps a writer going whose progress one line shows. When it is
// asked to end, or after the time it was given, it stops the writer; in the second case it also reads
// every acknowledged row back on every node and fails if one is missing.
//
// Only cmd/kalamdb calls it. It speaks to the nodes over HTTP alone, apart from opening and closing them
// and from the figures of the status line.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Names and passwords of what the demo creates. They protect nothing: the nodes listen on loopback.
const (
	rootUser     = "root"
	rootPassword = "kalamdb-demo-root" //nolint:gosec // printed on purpose, see above
	demoUser     = "demo"
	demoPassword = "kalamdb-demo" //nolint:gosec // printed on purpose, see above
)

// Options say how a demo runs.
type Options struct {
	Nodes           int           // 1 to 9; zero means 3
	Dir             string        // where the data stays; empty means a temporary directory that is removed at the end
	HTTPPort        int           // port of the first node, the next ones follow; zero lets the kernel choose all
	For             time.Duration // end after this long and verify; zero runs until ctx ends
	WritesPerSecond int           // upper bound of the writer; zero means 200
	Out             io.Writer     // where a person reads along
	Terminal        bool          // Out is a terminal: the status line is rewritten in place
	LogLevel        string        // least level of the nodes' logs, which go to Out; empty means error
}

const (
	defaultNodes           = 3
	maxNodes               = 9
	defaultWritesPerSecond = 200

	// startPatience bounds the time from opening the nodes until all are ready.
	startPatience = 60 * time.Second
	// stopPatience bounds the courtesies of closing nodes: requests of others that are under way, and
	// leaderships, which go nowhere when all nodes leave at once.
	stopPatience = 2 * time.Second
)

func (o *Options) complete() error {
	if o.Nodes == 0 {
		o.Nodes = defaultNodes
	}
	if o.WritesPerSecond == 0 {
		o.WritesPerSecond = defaultWritesPerSecond
	}
	if o.LogLevel == "" {
		o.LogLevel = "error"
	}
	switch {
	case o.Nodes < 1 || o.Nodes > maxNodes:
		return fmt.Errorf("nodes = %d: allowed: 1 to %d", o.Nodes, maxNodes)
	case o.HTTPPort < 0 || o.HTTPPort > 65535-o.Nodes:
		return fmt.Errorf("http-port = %d: allowed: 0 to %d", o.HTTPPort, 65535-o.Nodes)
	case o.WritesPerSecond < 1 || o.WritesPerSecond > 1_000_000:
		return fmt.Errorf("writes = %d: allowed: 1 to 1000000", o.WritesPerSecond)
	case o.For < 0:
		return fmt.Errorf("for = %v: allowed: a time above zero", o.For)
	}
	return nil
}

// Run runs a demo until ctx ends or its time is over, and closes every node before it returns. The error
// says what could not be started, which node failed, or which acknowledged rows are missing.
func Run(ctx context.Context, options Options) (err error) {
	if err = options.complete(); err != nil {
		return err
	}
	dir := options.Dir
	if dir == "" {
		dir, err = os.MkdirTemp("", "kalamdb-demo-")
		if err != nil {
			return fmt.Errorf("make a directory for the data: %w", err)
		}
		defer func() {
			if err != nil {
				err = fmt.Errorf("%w (the data is kept in %s)", err, dir)
				return
			}
			err = os.RemoveAll(dir)
		}()
	}
	cluster, err := openCluster(ctx, dir, options)
	if err != nil {
		return err
	}
	defer func() {
		say(options.Out, "stopping\n")
		err = errors.Join(err, cluster.close())
	}()
	return runOn(ctx, cluster, dir, options)
}

// runOn does everything between opening and closing.
func runOn(ctx context.Context, cluster *cluster, dir string, options Options) error {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cluster.watch(cancel)

	starting, cancelStart := context.WithTimeout(running, startPatience)
	defer cancelStart()
	if err := cluster.waitReady(starting); err != nil {
		return ended(ctx, running, fmt.Errorf("the nodes are not ready: %w", err))
	}
	session, err := createSample(starting, cluster)
	if err != nil {
		return ended(ctx, running, fmt.Errorf("create the sample: %w", err))
	}
	introduce(options, cluster, session, dir)

	writer, err := newWriter(starting, session, cluster, options.WritesPerSecond)
	if err != nil {
		return ended(ctx, running, fmt.Errorf("prepare the writer: %w", err))
	}
	writing, stopWriting := running, context.CancelFunc(func() {})
	if options.For > 0 {
		writing, stopWriting = context.WithTimeout(running, options.For)
	}
	defer stopWriting()
	done := writer.start(writing)
	showStatus(writing, options, cluster, writer)
	<-done
	if options.For == 0 || running.Err() != nil {
		return ended(ctx, running, nil)
	}
	return verify(running, options.Out, cluster, session, writer)
}

// ended chooses what a run that stopped returns: nothing when its caller wanted it to end, the failure of a
// node when there was one, err otherwise.
func ended(caller, running context.Context, err error) error {
	select {
	case <-caller.Done():
		return nil
	default:
	}
	if cause := context.Cause(running); cause != nil {
		return cause
	}
	return err
}

// say prints to a person. When nobody can read it any more, the demo goes on: its result is the error of Run.
func say(out io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(out, format, args...)
}

// introduce prints what a person needs to use the cluster.
func introduce(options Options, cluster *cluster, session *session, dir string) {
	say(options.Out, "KalamDB demo: %d nodes in one process, data in %s\n\n", len(cluster.nodes), dir)
	for i, node := range cluster.nodes {
		say(options.Out, "  node %d   http://%s\n", i+1, node.APIAddr())
	}
	say(options.Out, "  login    user %s, password %s   (administrator: %s, %s)\n\n", demoUser, demoPassword, rootUser, rootPassword)
	say(options.Out, "  curl -s %s/v1/api/sql -H 'Content-Type: application/json' -H 'Authorization: Bearer %s' -d '{\"sql\":\"%s\"}'\n\n",
		cluster.url(0), session.token, "SELECT id, body FROM "+sampleTable+" ORDER BY id DESC LIMIT 3")
	if options.For == 0 {
		say(options.Out, "Ctrl-C ends.\n")
	}
}
