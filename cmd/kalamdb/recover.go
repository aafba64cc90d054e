package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/server"
)

const recoverWarning = `WARNING: this gives up what the lost nodes knew.
 - Rows that were acknowledged and are on the lost nodes alone are gone, and there is no list of them.
 - Writes that were under way may take effect or not, each for itself; rows of different groups may be of
   different moments.
 - The lost nodes must never run with their old data again. The survivors refuse them, but a majority of them
   would still serve clients as the old cluster. Wipe them, then let them join as new nodes.
 - With several survivors, at most four, stop all of them, run this on each with the same list, and only then start
   them. A group is led again once all of them are there.
Copy the data directory before you go on.
`

// newRecoverCommand is the way out when a majority is lost for good.
func newRecoverCommand() *cobra.Command {
	var survivors []uint
	yes := false
	command := &cobra.Command{
		Use:   "recover --survivors <node ids> [--yes] <data-dir>",
		Short: "make a stopped node's cluster go on without a majority that is lost for good",
		Long: "Rewrites the data directory of a node that does not run: the survivors become the only members of the\n" +
			"cluster. Without --yes it prints what it finds and changes nothing.\n\n" + recoverWarning,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(command *cobra.Command, args []string) error {
			nodes := make([]ident.NodeID, len(survivors))
			for i, node := range survivors {
				nodes[i] = ident.NodeID(node)
			}
			slices.Sort(nodes)
			nodes = slices.Compact(nodes)
			if len(nodes) == 0 || nodes[0] == 0 {
				return &usageError{errors.New("--survivors is required: the numbers of the nodes that go on, with commas between them")}
			}
			report, err := server.Recover(args[0], nodes, yes)
			if err != nil {
				return err
			}
			if err = printRecovery(command.OutOrStdout(), report); err != nil {
				return err
			}
			switch {
			case report.AlreadyDone:
				_, err = fmt.Fprintln(command.OutOrStdout(), "The survivors are the only members already. Nothing was changed.")
			case yes:
				_, err = fmt.Fprintln(command.OutOrStdout(), "Done. Start the node, then let new nodes join.")
			default:
				return &usageError{errors.New("nothing was changed; add --yes to go on")}
			}
			return err
		},
	}
	command.Flags().UintSliceVar(&survivors, "survivors", nil, "numbers of the nodes that go on, this one included")
	command.Flags().BoolVar(&yes, "yes", false, "go on after reading the warning")
	return command
}

func printRecovery(out io.Writer, report *server.RecoverReport) error {
	var behind, open, applied, last uint64
	learners := 0
	for _, g := range report.Groups {
		applied, last = applied+g.Applied, last+g.Last
		if g.Learner {
			learners++
		}
		if g.Last > g.Applied {
			behind++
			open += g.Last - g.Applied
		}
	}
	text := recoverWarning + "\n" + fmt.Sprintf("cluster %q, node %d\nsurvivors: %v\nlost: %v\n", report.ClusterID, report.Node, report.Survivors, report.Lost) +
		fmt.Sprintf("%d groups; %d of them hold %d entries of which it is not known here whether they were acknowledged\n",
			len(report.Groups), behind, open) +
		fmt.Sprintf("entries of all groups together: %d applied here, %d in all; of several nodes, the one with most has lost least\n", applied, last)
	if learners > 0 {
		text += fmt.Sprintf("this node had not caught up yet in %d groups: their rows are incomplete\n", learners)
	}
	if observed := len(report.Observed); observed > 0 {
		text += fmt.Sprintf("this node had no vote in %d groups and was not waited for there: it may lack more of what was acknowledged last\n"+
			"than a voter would\n", observed)
	}
	_, err := io.WriteString(out, text)
	return err
}
