package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kalamdb/kalamdb-go/internal/demo"
)

// newDemoCommand runs a small cluster in this process. An interrupt, which ends the command's context,
// drains it.
func newDemoCommand() *cobra.Command {
	var options demo.Options
	command := &cobra.Command{
		Use:   "demo",
		Short: "run three nodes in one process, with sample data and a writer",
		Long: "Runs three nodes in this process on loopback ports, each with its own data directory, real fsync\n" +
			"and gRPC between them; prints how to reach them and keeps a small writer going until it is\n" +
			"interrupted. With --for it ends by itself, reads every acknowledged row back on every node, and\n" +
			"fails if one is missing.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(command *cobra.Command, _ []string) error {
			if err := checkDemo(options); err != nil {
				return &usageError{err}
			}
			options.Out = command.OutOrStdout()
			options.Terminal = isTerminal(os.Stdout)
			return demo.Run(command.Context(), options)
		},
	}
	flags := command.Flags()
	flags.DurationVar(&options.For, "for", 0, "end after this time and verify every row, e.g. 5s; 0 runs until interrupted")
	flags.StringVar(&options.Dir, "dir", "", "keep the data in this directory; a temporary one by default")
	flags.IntVar(&options.HTTPPort, "http-port", 0, "HTTP port of the first node, the others follow; 0 lets the kernel choose")
	flags.IntVar(&options.Nodes, "nodes", 3, "number of nodes, 1 to 9")
	flags.IntVar(&options.WritesPerSecond, "writes", 200, "most rows that the writer inserts per second")
	flags.StringVar(&options.LogLevel, "log-level", "error", "least level of the nodes' logs: debug, info, warn or error")
	return command
}

// checkDemo judges the flags, where zero means zero; the demo itself takes it for its default.
func checkDemo(options demo.Options) error {
	const maxNodes, maxWrites, maxPort = 9, 1_000_000, 65535
	switch {
	case options.For < 0:
		return fmt.Errorf("--for %v: allowed: 0 or a time above it, e.g. 5s", options.For)
	case options.Nodes < 1 || options.Nodes > maxNodes:
		return fmt.Errorf("--nodes %d: allowed: 1 to %d", options.Nodes, maxNodes)
	case options.WritesPerSecond < 1 || options.WritesPerSecond > maxWrites:
		return fmt.Errorf("--writes %d: allowed: 1 to %d", options.WritesPerSecond, maxWrites)
	case options.HTTPPort < 0 || options.HTTPPort > maxPort-options.Nodes:
		return fmt.Errorf("--http-port %d: allowed: 0 to %d", options.HTTPPort, maxPort-options.Nodes)
	case !slices.Contains([]string{"debug", "info", "warn", "error"}, options.LogLevel):
		return fmt.Errorf("--log-level %s: allowed: debug, info, warn, error", options.LogLevel)
	}
	return nil
}

// isTerminal reports whether a person sees what is written to the file as it comes.
func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
