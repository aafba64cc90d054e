package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

// newRootCommand builds the command line. env looks variables up; logs go to the given writer.
func newRootCommand(env func(string) string, logs io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "kalamdb [config.toml]",
		Short: "KalamDB, a SQL database with live rows and a private table space for every user",
		Long: "KalamDB is a SQL database with live rows and a private table space for every user.\n\n" +
			"`kalamdb config.toml` runs a node; it is short for `kalamdb serve --config config.toml`.",
		Args:          usageArgs(cobra.MaximumNArgs(1)),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) == 0 {
				return command.Help()
			}
			return serve(command.Context(), args[0], env, logs)
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w; see %s --help", err, command.CommandPath())}
	})
	root.AddCommand(newServeCommand(env, logs), newDemoCommand(), newBenchCommand(), newClusterCommand(env), newCertCommand(), newRecoverCommand(),
		newCheckCommand(), newBackupCommand(env), newRestoreCommand(env), newVerifyCommand(),
		newVersionCommand())
	return root
}

func newServeCommand(env func(string) string, logs io.Writer) *cobra.Command {
	var path string
	command := &cobra.Command{
		Use:   "serve --config <config.toml>",
		Short: "run one node until it is told to stop",
		Long: "Runs one node until SIGINT or SIGTERM. Environment variables override the file; without a file\n" +
			"the node runs on defaults and the environment. docs/ops/config.md lists all keys.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(command *cobra.Command, _ []string) error {
			if command.Flags().Changed("config") && path == "" {
				return &usageError{errors.New("--config is empty; name a file or leave it out")}
			}
			return serve(command.Context(), path, env, logs)
		},
	}
	command.Flags().StringVarP(&path, "config", "c", "", "configuration file, TOML")
	return command
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(command *cobra.Command, _ []string) error {
			build := readBuild()
			_, err := fmt.Fprintf(command.OutOrStdout(), "kalamdb %s (built %s, %s, %s/%s)\n",
				build.Version, build.Date, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// usageArgs makes the refusal of arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if err := check(command, args); err != nil {
			return &usageError{fmt.Errorf("%w; see %s --help", err, command.CommandPath())}
		}
		return nil
	}
}

// onlyHelp is what a command of commands does by itself. Without it cobra prints the help and succeeds for a word that names none of
// them, and a script takes a mistyped order for one that was carried out.
func onlyHelp(command *cobra.Command, _ []string) error { return command.Help() }
