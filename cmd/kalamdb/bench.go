package main

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kalamdb/kalamdb-go/internal/bench"
	"github.com/kalamdb/kalamdb-go/internal/config"
)

// newBenchCommand measures this machine with this program. Output is one JSON object a line.
func newBenchCommand() *cobra.Command {
	command := &cobra.Command{Use: "bench", Short: "measure this program on this machine", Args: usageArgs(cobra.NoArgs), RunE: onlyHelp}
	command.AddCommand(newBenchRaftCommand(), newBenchIdleCommand(), newBenchRestartCommand(), newBenchSnapshotCommand(),
		newBenchFailoverCommand(), newBenchCatchUpCommand(), newBenchLiveCommand(), newBenchSQLCommand(), newBenchColdCommand(), newBenchBackupCommand(), newBenchMachineCommand(),
		newBenchWorkerCommand(), newBenchLiveNodeCommand(), newBenchEchoCommand())
	return command
}

func newBenchRaftCommand() *cobra.Command {
	var o bench.RaftOptions
	command := &cobra.Command{
		Use:   "raft",
		Short: "replicate commands through three processes on loopback, with real sync",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.Raft(command.Context(), o, command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.IntVar(&o.Groups, "groups", 34, "Raft groups in all")
	flags.IntVar(&o.Payload, "payload", 128, "bytes of one command")
	flags.IntSliceVar(&o.Clients, "clients", []int{1, 16, 256, 1024}, "closed-loop clients, one case each")
	flags.StringVar(&o.Apply, "apply", "count", "state machine: count or store")
	flags.StringVar(&o.Log, "log", config.LogSegments, "what the log is kept in: segments or pebble, as raft.log_store")
	flags.StringVar(&o.Leaders, "leaders", "spread", "where leaders are: spread or one")
	flags.DurationVar(&o.Duration, "duration", 3*time.Second, "time of one case")
	flags.StringVar(&o.Profiles, "profiles", "", "directory for CPU profiles, one for each case and process")
	flags.Bool("json", true, "print JSON; there is no other form")
	return command
}

func newBenchIdleCommand() *cobra.Command {
	var groups int
	var duration time.Duration
	var profiles string
	command := &cobra.Command{
		Use:   "idle",
		Short: "measure what three nodes without load use",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.Idle(command.Context(), groups, duration, profiles, command.OutOrStdout())
		},
	}
	command.Flags().IntVar(&groups, "groups", 34, "Raft groups in all")
	command.Flags().DurationVar(&duration, "duration", 10*time.Second, "time to measure")
	command.Flags().StringVar(&profiles, "profiles", "", "directory for CPU profiles, one for each process")
	command.Flags().Bool("json", true, "print JSON; there is no other form")
	return command
}

func newBenchRestartCommand() *cobra.Command {
	var mib int64
	var log string
	command := &cobra.Command{
		Use:   "restart",
		Short: "measure how long a node with a long log takes to open after a crash",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.Restart(command.Context(), mib<<20, log, command.OutOrStdout())
		},
	}
	command.Flags().Int64Var(&mib, "mib", 1024, "size of the log in MiB")
	command.Flags().StringVar(&log, "log", config.LogSegments, "what the log is kept in: segments or pebble, as raft.log_store")
	command.Flags().Bool("json", true, "print JSON; there is no other form")
	return command
}

func newBenchFailoverCommand() *cobra.Command {
	var o bench.FailoverOptions
	command := &cobra.Command{
		Use:   "failover",
		Short: "break the leader of three real servers under load and measure how long clients wait",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.Failover(command.Context(), o, command.OutOrStdout())
		},
	}
	cluster := config.Default().Cluster
	flags := command.Flags()
	flags.StringSliceVar(&o.Kinds, "kinds", []string{"crash", "pause", "partition", "transfer"}, "kinds of faults")
	flags.IntVar(&o.Rounds, "rounds", 5, "faults of each kind")
	flags.IntVar(&o.Clients, "clients", 12, "closed-loop writers, spread over the nodes")
	flags.Int64Var(&o.HeartbeatMillis, "heartbeat", cluster.HeartbeatIntervalMillis, "heartbeat interval, milliseconds")
	flags.Int64SliceVar(&o.ElectionMillis, "election", cluster.ElectionTimeoutMillis, "least and greatest election timeout, milliseconds")
	flags.Bool("json", true, "print JSON; there is no other form")
	return command
}

func newBenchCatchUpCommand() *cobra.Command {
	var mib int64
	var clients int
	command := &cobra.Command{
		Use:   "catchup",
		Short: "take the disk of one of three real servers away under load and measure how it comes back",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.CatchUp(command.Context(), mib<<20, clients, command.OutOrStdout())
		},
	}
	command.Flags().Int64Var(&mib, "mib", 1024, "bytes in the table that is sent, in MiB")
	command.Flags().IntVar(&clients, "clients", 4, "closed-loop writers to another group, spread over the servers")
	command.Flags().Bool("json", true, "print JSON; there is no other form")
	return command
}

func newBenchSnapshotCommand() *cobra.Command {
	var bytes int64
	var verify bool
	command := &cobra.Command{
		Use:   "snapshot",
		Short: "send a group from one store on disk to another and measure time and memory",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.Snapshot(command.Context(), bytes, verify, command.OutOrStdout())
		},
	}
	command.Flags().Int64Var(&bytes, "bytes", 2<<30, "bytes of values in the group")
	command.Flags().BoolVar(&verify, "verify-installed", false, "read the installed group back from the store")
	command.Flags().Bool("json", true, "print JSON; there is no other form")
	return command
}

func newBenchLiveCommand() *cobra.Command {
	var o bench.LiveOptions
	command := &cobra.Command{
		Use:   "live",
		Short: "measure live queries of real servers over real sockets",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.Live(command.Context(), o, command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&o.Cases, "cases", nil, "cases to run, all if none: "+strings.Join(bench.LiveCases(), ", "))
	flags.DurationVar(&o.Duration, "duration", 3*time.Second, "time of one case under load")
	flags.IntVar(&o.Connections, "connections", 10_000, "connections of the case that holds many")
	flags.IntVar(&o.Subscriptions, "subscriptions", 100_000, "subscriptions of the cases that hold many")
	flags.Bool("json", true, "print JSON; there is no other form")
	return command
}

func newBenchSQLCommand() *cobra.Command {
	var o bench.SQLOptions
	command := &cobra.Command{
		Use:   "sql",
		Short: "measure statements in the engine alone and over HTTP, with real sync",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.SQL(command.Context(), o, command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&o.Cases, "cases", nil, "cases to run, all if none: "+strings.Join(bench.SQLCases(), ", "))
	flags.DurationVar(&o.Duration, "duration", 3*time.Second, "time of one case")
	flags.Bool("json", true, "print JSON; there is no other form")
	return command
}

func newBenchColdCommand() *cobra.Command {
	var o bench.ColdOptions
	command := &cobra.Command{
		Use:   "cold",
		Short: "measure cold rows: flush, scan, point reads, and hot writes meanwhile",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.Cold(command.Context(), o, command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.IntVar(&o.Rows, "rows", 1_000_000, "rows of the large table")
	flags.IntVar(&o.Repeats, "repeats", 20, "times that a query is measured")
	flags.StringSliceVar(&o.Cases, "case", nil, "what to measure: flush, queries (which need flush), files, writes; all of it unless given")
	flags.Bool("json", true, "print JSON; there is no other form")
	return command
}

func newBenchBackupCommand() *cobra.Command {
	var o bench.BackupOptions
	command := &cobra.Command{
		Use:   "backup",
		Short: "measure backups: size, time and processor time of the first, of the next one, of verify and of restore",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.Backup(command.Context(), o, command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.IntVar(&o.Rows, "rows", 400_000, "rows of the table")
	flags.IntVar(&o.Changed, "changed", 4000, "rows that change before the second backup")
	flags.IntVar(&o.Places, "places", 40, "places in which they lie")
	flags.IntVar(&o.Cold, "cold", 50, "percent of the rows that are in segments")
	flags.Bool("json", true, "print JSON; there is no other form")
	return command
}

func newBenchMachineCommand() *cobra.Command {
	var o bench.MachineOptions
	command := &cobra.Command{
		Use:   "machine",
		Short: "measure this machine by work that does not depend on this program, beside the one that goals were set on",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.Machine(command.Context(), o, command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&o.Cases, "cases", nil, "cases to run, all if none: "+strings.Join(bench.MachineCases(), ", "))
	flags.IntVar(&o.Passes, "passes", 3, "measurements of each case, of which the median counts")
	flags.DurationVar(&o.Duration, "duration", 200*time.Millisecond, "time of one measurement")
	flags.Bool("json", true, "print JSON; there is no other form")
	return command
}

func newBenchEchoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "echo", Short: "the other process of a benchmark of streams", Hidden: true, Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.Echo(command.Context(), os.Stdin, os.Stdout)
		},
	}
}

func newBenchWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "worker", Short: "one process of a benchmark", Hidden: true, Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.Worker(command.Context(), os.Stdin, os.Stdout)
		},
	}
}

func newBenchLiveNodeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "live-node", Short: "the node of a benchmark of live queries", Hidden: true, Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.LiveNode(command.Context(), os.Stdin, os.Stdout)
		},
	}
}
