package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// exitDegraded is the exit code of a cluster command that ran, and found or left something that is not as it
// should be.
const exitDegraded = 3

// degradedError says what is not as it should be.
type degradedError struct{ text string }

// Error implements error.
func (e *degradedError) Error() string { return e.text }

// clusterCommands share how they reach a node and how they print.
type clusterCommands struct {
	client sqlClient
	json   bool
	groups []uint
}

// newClusterCommand is the cluster from an operator's point of view. It speaks the public interface alone:
// CLUSTER statements and system views, at any node.
func newClusterCommand(env func(string) string) *cobra.Command {
	c := &clusterCommands{}
	command := &cobra.Command{
		Use:   "cluster",
		Short: "look at a running cluster and operate it",
		Long: "Looks at a running cluster and operates it, through any of its nodes.\n\n" +
			"The caller needs role dba or system. The password and the token can also be given in KALAMDB_PASSWORD\n" +
			"and KALAMDB_TOKEN, which keeps them out of the list of processes.\n\n" +
			"Exit codes: 0 done; 1 the node cannot be reached or refuses; 2 the command line is wrong; 3 status found\n" +
			"a node that is not active or a group without a leader, or the command failed for some groups or nodes.\n" +
			"Every command can be repeated; a repeat finds done what is done.",
		Args: usageArgs(cobra.NoArgs), RunE: onlyHelp,
	}
	c.client.flags(command, command.PersistentFlags(), env)
	command.PersistentFlags().BoolVar(&c.json, "json", false, "print one JSON object instead of a table")
	command.AddCommand(c.statusCommand(), c.initCommand(), c.addNodeCommand(),
		c.simple("remove-node <node>", "take a node out of the cluster for good; with --group, only its votes there", "CLUSTER LEAVE", 1, 1, true),
		c.simple("transfer <node>", "make a node the leader of all groups, or of those selected", "CLUSTER TRANSFER LEADER", 1, 1, true),
		c.simple("stepdown [node]", "hand over what a node leads; with --group, what those groups' leaders lead", "CLUSTER STEPDOWN", 0, 1, true),
		c.simple("election", "make the node at --url stand for election", "CLUSTER TRIGGER ELECTION", 0, 0, true),
		c.simple("drain [node]", "move all leaderships away from a node and keep them away until it is resumed, over restarts", "CLUSTER DRAIN", 0, 1, false),
		c.simple("resume [node]", "let a drained node lead again", "CLUSTER RESUME", 0, 1, false),
		c.simple("snapshot", "make applied state durable on every node and cut logs to their retention", "CLUSTER SNAPSHOT", 0, 0, true),
		c.purgeCommand(), c.rebalanceCommand())
	return command
}

// simple is a command whose arguments are numbers behind one statement.
func (c *clusterCommands) simple(use, short, statement string, least, most int, selects bool) *cobra.Command {
	count := cobra.ExactArgs(most)
	if least < most {
		count = cobra.RangeArgs(least, most)
	}
	command := &cobra.Command{
		Use: use, Short: short, Args: usageArgs(count),
		RunE: func(command *cobra.Command, args []string) error {
			words := []string{statement}
			for _, arg := range args {
				node, err := nodeNumber(arg)
				if err != nil {
					return err
				}
				words = append(words, node)
			}
			return c.run(command, strings.Join(words, " "))
		},
	}
	if selects {
		c.selector(command)
	}
	return command
}

func nodeNumber(arg string) (string, error) {
	number, err := strconv.ParseUint(arg, 10, 63)
	if err != nil || number == 0 {
		return "", &usageError{fmt.Errorf("%q is no number of a node", arg)}
	}
	return strconv.FormatUint(number, 10), nil
}

func (c *clusterCommands) selector(command *cobra.Command) {
	command.Flags().UintSliceVar(&c.groups, "group", nil, "only these groups; all when left out")
}

func (c *clusterCommands) addNodeCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "add-node <node> <rpc-addr> [api-addr]",
		Short: "invite a node that runs with the cluster's id and an empty data directory",
		Long: "Invites a node into the cluster and waits until it is a member. The node must run: with the same\n" +
			"cluster.cluster_id, its own cluster.node_id, cluster.join = true and an empty data directory. A node\n" +
			"whose cluster.peers name a member joins by itself and needs no invitation.\n\n" +
			"With --group it gets a vote in these groups only. It has the rows of all groups and serves every request\n" +
			"all the same; in the others no commit and no election waits for it. A repeat with other groups adds them,\n" +
			"a repeat without --group adds all.",
		Args: usageArgs(cobra.RangeArgs(2, 3)),
		RunE: func(command *cobra.Command, args []string) error {
			node, err := nodeNumber(args[0])
			if err != nil {
				return err
			}
			api := ""
			if len(args) > 2 {
				api = args[2]
			}
			return c.run(command, fmt.Sprintf("CLUSTER JOIN %s %s %s", node, quote(args[1]), quote(api)))
		},
	}
	c.selector(command)
	return command
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func (c *clusterCommands) purgeCommand() *cobra.Command {
	var upto uint64
	command := &cobra.Command{
		Use: "purge --upto <index>", Short: "cut logs up to an index, as far as it is safe",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(command *cobra.Command, _ []string) error {
			if upto == 0 {
				return &usageError{errors.New("--upto is required: the highest index of the log to cut")}
			}
			return c.run(command, fmt.Sprintf("CLUSTER PURGE --upto %d", upto))
		},
	}
	command.Flags().Uint64Var(&upto, "upto", 0, "highest index to cut")
	c.selector(command)
	return command
}

func (c *clusterCommands) rebalanceCommand() *cobra.Command {
	dry := false
	command := &cobra.Command{
		Use: "rebalance", Short: "spread leaderships evenly over the nodes now",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(command *cobra.Command, _ []string) error {
			if dry {
				return c.run(command, "CLUSTER REBALANCE DRY RUN")
			}
			return c.run(command, "CLUSTER REBALANCE")
		},
	}
	command.Flags().BoolVar(&dry, "dry-run", false, "print what would move and move nothing")
	c.selector(command)
	return command
}

// initCommand waits for the founding, which the nodes do by themselves.
func (c *clusterCommands) initCommand() *cobra.Command {
	var patience time.Duration
	command := &cobra.Command{
		Use: "init", Short: "wait until a new cluster is founded and all its nodes are active",
		Long: "Nodes that are started with the same list of peers found their cluster by themselves: the one with the\n" +
			"lowest node id does it, once it knows that none of the others belongs to a cluster. There is nothing to\n" +
			"order. This command waits until that has happened and every member is active, then prints the status.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(command.Context(), patience)
			defer cancel()
			for {
				state, err := c.state(ctx)
				if err == nil && len(state.problems) == 0 {
					return c.printState(command.OutOrStdout(), state)
				}
				timer := time.NewTimer(200 * time.Millisecond)
				select {
				case <-timer.C:
				case <-ctx.Done():
					timer.Stop()
					if err != nil {
						return fmt.Errorf("the cluster is not there after %s: %w", patience, err)
					}
					return &degradedError{strings.Join(state.problems, "; ")}
				}
			}
		},
	}
	command.Flags().DurationVar(&patience, "timeout", time.Minute, "how long to wait")
	return command
}

// run executes a CLUSTER statement and prints how it went.
func (c *clusterCommands) run(command *cobra.Command, statement string) error {
	if len(c.groups) > 0 {
		words := make([]string, len(c.groups))
		for i, group := range c.groups {
			words[i] = strconv.FormatUint(uint64(group), 10)
		}
		statement += " ON GROUP " + strings.Join(words, ", ")
	}
	answer, err := c.client.sql(command.Context(), statement)
	if err != nil {
		return err
	}
	outcomes := answer.objects()
	failed := 0
	for _, o := range outcomes {
		if o["success"] != true {
			failed++
		}
	}
	if c.json {
		err = printObject(command.OutOrStdout(), map[string]any{"outcomes": outcomes, "failed": failed})
	} else {
		err = printOutcomes(command.OutOrStdout(), outcomes)
	}
	if err == nil && failed > 0 {
		err = &degradedError{fmt.Sprintf("%d of %d outcomes are failures", failed, len(outcomes))}
	}
	return err
}

func printOutcomes(out io.Writer, outcomes []map[string]any) error {
	if len(outcomes) == 0 {
		_, err := fmt.Fprintln(out, "nothing to do")
		return err
	}
	columns := []string{"action", "group_id", "success", "target_node_id", "snapshot_index", "upto", "error"}
	return printTable(out, columns, outcomes)
}

func printObject(out io.Writer, object any) error {
	line, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err = fmt.Fprintf(out, "%s\n", line)
	return err
}

// printTable prints the named columns; a column that is empty in every row is left out.
func printTable(out io.Writer, columns []string, rows []map[string]any) error {
	var shown []string
	for _, column := range columns {
		for _, row := range rows {
			if row[column] != nil {
				shown = append(shown, column)
				break
			}
		}
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	line := func(cell func(column string) string) {
		cells := make([]string, len(shown))
		for i, column := range shown {
			cells[i] = cell(column)
		}
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) // Flush reports it
	}
	line(strings.ToUpper)
	for _, row := range rows {
		line(func(column string) string {
			if row[column] == nil {
				return "-"
			}
			return fmt.Sprint(row[column])
		})
	}
	return w.Flush()
}
