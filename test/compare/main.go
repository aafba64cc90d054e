// Command compare measures dragonboat as `kalamdb bench raft` measures this system, and both in turn: three processes on
// loopback with real sync, 34 groups led evenly, a state machine that counts, closed-loop clients inside the processes that
// each propose to groups led there. It is a module of its own, because nothing of dragonboat is to enter the product.
//
//	compare dragonboat --clients 16,256 --workers 1   # one JSON object for each case
//	compare table ../../bin/kalamdb 3                 # both systems in turn, three rounds, and the table (make compare)
//
// Like is compared with like where both have a setting: election timeouts of 500 to 1000 ms, PreVote, CheckQuorum, no
// snapshots, garbage collected as `kalamdb` collects it. Heartbeats come every 200 ms: ours come every 250, and dragonboat
// wants fewer than half of the shortest election timeout between them. Everything else is its default.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the flags of `compare dragonboat`.
type options struct {
	Clients   []int
	Payload   int
	Duration  time.Duration
	Workers   uint64 // step, commit and apply workers, and log stores
	GCPercent int
}

func (o options) validate() error {
	switch {
	case o.Payload < 8:
		return fmt.Errorf("--payload = %d: want at least 8 bytes", o.Payload)
	case o.Duration < 100*time.Millisecond:
		return fmt.Errorf("--duration = %v: want at least 100ms", o.Duration)
	case o.Workers != 1 && o.Workers != defaultWorkers:
		return fmt.Errorf("--workers = %d: want 1 or %d", o.Workers, defaultWorkers)
	}
	for _, n := range o.Clients {
		if n < 1 {
			return fmt.Errorf("--clients: %d is not a number of clients", n)
		}
	}
	return nil
}

// mostRounds keeps a slip of the finger from taking a day.
const mostRounds = 20

var errUsage = errors.New("usage: compare dragonboat [flags] | compare table <kalamdb binary> <rounds>")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	switch args[0] {
	case "dragonboat":
		o, err := parse(args[1:])
		if err != nil {
			return err
		}
		return measure(ctx, o, os.Stdout)
	case "worker":
		return worker(os.Stdin, os.Stdout)
	case "table":
		if len(args) != 3 {
			return errUsage
		}
		rounds, err := strconv.Atoi(args[2])
		if err != nil || rounds < 1 || rounds > mostRounds {
			return fmt.Errorf("%q rounds: want a number from 1 to %d", args[2], mostRounds)
		}
		return inTurn(ctx, args[1], rounds, os.Stdout)
	}
	return errUsage
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("compare dragonboat", flag.ContinueOnError)
	clients := flags.String("clients", "1,16,256,1024", "closed-loop clients, one case each")
	flags.IntVar(&o.Payload, "payload", 128, "bytes of one command")
	flags.DurationVar(&o.Duration, "duration", 3*time.Second, "time of one case")
	flags.Uint64Var(&o.Workers, "workers", defaultWorkers, "workers and log stores: 1 or 16, its default")
	flags.IntVar(&o.GCPercent, "gc-percent", 400, "growth of the heap between garbage collections; 400 is the default of kalamdb")
	flags.Bool("json", true, "print JSON; there is no other form")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	for word := range strings.SplitSeq(*clients, ",") {
		n, err := strconv.Atoi(word)
		if err != nil {
			return o, fmt.Errorf("--clients: %q is not a number", word)
		}
		o.Clients = append(o.Clients, n)
	}
	return o, o.validate()
}
