// Command compare measures other systems as `kalamdb bench` measures this one, and both in turn. It is a module of its own, because nothing of
// what it measures is to enter the product.
//
//	compare dragonboat --clients 16,256 --workers 1      # one JSON object for each case
//	compare hashicorp --clients 1,256 --payload 1024
//	compare etcd --clients 1,256                         # through gRPC, from a process of its own
//	compare kalamdb --program ../../bin/kalamdb --clients 1,256
//	compare etcd --idle
//	compare table --engines etcd ../../bin/kalamdb 3     # both systems in turn, three rounds, and the tables (make compare)
//
// dragonboat and hashicorp run closed-loop clients inside the processes that lead, as `kalamdb bench raft` does, and a state machine that counts. etcd and
// kalamdb are asked by one more process, through gRPC, a call for each put, and store what they are given. Always there are three processes on loopback, and real sync.
//
// Like is compared with like where both have a setting: PreVote, CheckQuorum, no snapshots, garbage collected as `kalamdb` collects it.
// What each engine is set to stands where it is opened.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the flags of a measurement.
type options struct {
	Engine        string
	Clients       []int
	Payload       int
	Duration      time.Duration
	GCPercent     int
	Workers       uint64 // of dragonboat: step, commit and apply workers, and log stores
	AppendEntries int    // of hashicorp: how many entries travel together
	Connections   int    // of etcd and kalamdb: of the clients to the nodes, in all
	Program       string // of kalamdb
	Streams       bool   // of kalamdb: proposals travel together, where they wait
	Idle          bool   // of etcd: no clients
}

// mostAppendEntries is what hashicorp/raft takes.
const mostAppendEntries = 1024

func (o options) validate() error {
	_, known := engines[o.Engine]
	switch {
	case !known:
		return fmt.Errorf("%q is no engine", o.Engine)
	case o.Payload < 8:
		return fmt.Errorf("--payload = %d: want at least 8 bytes", o.Payload)
	case o.Duration < 100*time.Millisecond:
		return fmt.Errorf("--duration = %v: want at least 100ms", o.Duration)
	case o.Workers != 1 && o.Workers != defaultWorkers:
		return fmt.Errorf("--workers = %d: want 1 or %d", o.Workers, defaultWorkers)
	case o.AppendEntries < 1 || o.AppendEntries > mostAppendEntries:
		return fmt.Errorf("--append-entries = %d: want 1 to %d", o.AppendEntries, mostAppendEntries)
	case o.Connections < nodes || o.Connections%nodes != 0:
		return fmt.Errorf("--connections = %d: want a multiple of %d", o.Connections, nodes)
	case o.Program == "" && o.Engine == "kalamdb":
		return errors.New("--program must name bin/kalamdb")
	}
	for _, n := range o.Clients {
		if n < 1 {
			return fmt.Errorf("--clients: %d is not a number of clients", n)
		}
	}
	return nil
}

var errUsage = errors.New("usage: compare dragonboat|hashicorp|etcd|kalamdb [flags] | compare table [flags] <kalamdb binary> <rounds>")

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
	case "worker":
		return worker(ctx, os.Stdin, os.Stdout)
	case "table":
		return runTable(ctx, args[1:])
	}
	if _, known := engines[args[0]]; !known {
		return errUsage
	}
	o, err := optionsOf(args[0], args[1:])
	if err != nil {
		return err
	}
	return measure(ctx, o, os.Stdout)
}

// optionsOf reads flags.
func optionsOf(engine string, args []string) (options, error) {
	o := options{Engine: engine}
	flags := flag.NewFlagSet("compare "+engine, flag.ContinueOnError)
	clients := flags.String("clients", "1,16,256,1024", "closed-loop clients, one case each")
	flags.IntVar(&o.Payload, "payload", 128, "bytes of one command")
	flags.DurationVar(&o.Duration, "duration", 3*time.Second, "time of one case")
	flags.IntVar(&o.GCPercent, "gc-percent", 400, "growth of the heap between garbage collections; 400 is the default of kalamdb")
	flags.Uint64Var(&o.Workers, "workers", defaultWorkers, "dragonboat: workers and log stores, 1 or 16, its default")
	flags.IntVar(&o.AppendEntries, "append-entries", mostAppendEntries, "hashicorp: entries that travel together, at most; its default is 64")
	flags.IntVar(&o.Connections, "connections", 12, "etcd and kalamdb: connections of the clients")
	flags.StringVar(&o.Program, "program", "", "kalamdb: bin/kalamdb")
	flags.BoolVar(&o.Streams, "streams", false, "kalamdb: proposals that wait travel together, as nodes send those of their clients; else each is a call")
	flags.BoolVar(&o.Idle, "idle", false, "without clients: what the nodes use while nothing happens")
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

// mostRounds keeps a slip of the finger from taking a day.
const mostRounds = 20

// runTable measures the comparisons that are chosen, one behind the other.
func runTable(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("compare table", flag.ContinueOnError)
	names := make([]string, 0, len(comparisons))
	for _, c := range comparisons {
		names = append(names, c.name)
	}
	chosen := flags.String("engines", strings.Join(names, ","), "what to measure, with commas between")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 2 {
		return errUsage
	}
	words := strings.Split(*chosen, ",")
	for _, word := range words {
		if !slices.Contains(names, word) {
			return fmt.Errorf("--engines: %q is none of %s", word, strings.Join(names, ", "))
		}
	}
	rounds, err := strconv.Atoi(flags.Arg(1))
	if err != nil || rounds < 1 || rounds > mostRounds {
		return fmt.Errorf("%q rounds: want a number from 1 to %d", flags.Arg(1), mostRounds)
	}
	for _, c := range comparisons {
		if !slices.Contains(words, c.name) {
			continue
		}
		if err := c.inTurn(ctx, flags.Arg(0), rounds, os.Stdout); err != nil {
			return err
		}
	}
	return nil
}
