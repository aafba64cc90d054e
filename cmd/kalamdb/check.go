package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/server"
)

// newCheckCommand looks at the files of a node that does not run.
func newCheckCommand() *cobra.Command {
	asJSON := false
	command := &cobra.Command{
		Use:   "check [--json] <data-dir>",
		Short: "verify the files of a stopped node",
		Long: "Verifies the data directory of a node that does not run: who it is, every checksum of its log, its store and its cold rows,\n" +
			"whether all keys and values can be decoded, and whether they fit together. Nothing is changed.\n\n" +
			"It exits with 0 when all is well, with 1 when something is damaged, and with 2 when the directory is not a\n" +
			"node's, cannot be read, or is in use. docs/ops/check.md says what the findings mean.",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(command *cobra.Command, args []string) error {
			report, err := server.Check(args[0])
			if err != nil {
				return &usageError{err}
			}
			if asJSON {
				encoder := json.NewEncoder(command.OutOrStdout())
				encoder.SetIndent("", "  ")
				err = encoder.Encode(report)
			} else {
				err = printCheck(command.OutOrStdout(), report)
			}
			if err == nil && report.Damage > 0 {
				err = fmt.Errorf("%s is damaged: %d findings; see docs/ops/damage.md", report.Dir, report.Damage)
			}
			return err
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print what was found as JSON")
	return command
}

func printCheck(out io.Writer, r *server.CheckReport) error {
	who := "a standalone node"
	if r.ClusterID != "" {
		who = fmt.Sprintf("node %d (replica %d) of cluster %q", r.Node, r.Replica, r.ClusterID)
	}
	logUnits := fmt.Sprintf("segments, %d records", r.Log.Records)
	if r.Log.Store != config.LogSegments {
		logUnits = fmt.Sprintf("files of %s, %d pairs", r.Log.Store, r.Log.Records)
	}
	_, err := fmt.Fprintf(out, "%s\n%s, store %s, state %s\nlog:   %d %s, %d bytes, %d spare files\nstore: %d tables, %d keys, %d bytes\ncold:  %d files, %d bytes, %d files in buckets\n\n",
		r.Dir, who, r.Store, r.State, r.Log.Segments, logUnits, r.Log.Bytes, r.Log.Spares,
		r.Tables.Files, r.Tables.Keys, r.Tables.Bytes, r.Cold.Files, r.Cold.Bytes, r.Cold.InBuckets)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(r.Groups) > 0 {
		_, headErr := fmt.Fprintln(table, "GROUP\tAPPLIED\tLOG\tCOMMIT\tTERM\tKEYS\tROWS\tDIGEST")
		err = errors.Join(err, headErr)
	}
	for _, g := range r.Groups {
		_, rowErr := fmt.Fprintf(table, "%s\t%d\t%d..%d\t%d\t%d\t%d\t%d\t%s\n", g.Group, g.Applied, g.First, g.Last, g.Commit, g.Term,
			g.Keys, g.Rows, g.Digest)
		err = errors.Join(err, rowErr)
	}
	err = errors.Join(err, table.Flush())
	for _, f := range r.Findings {
		kind := "note"
		if f.Damage {
			kind = "DAMAGE"
		}
		_, lineErr := fmt.Fprintf(out, "%s %s %s: %s\n", kind, f.Part, f.Where, f.Text)
		err = errors.Join(err, lineErr)
	}
	if r.Omitted > 0 {
		_, lineErr := fmt.Fprintf(out, "%d more findings\n", r.Omitted)
		err = errors.Join(err, lineErr)
	}
	if r.Damage == 0 {
		_, lineErr := fmt.Fprintln(out, "no damage")
		err = errors.Join(err, lineErr)
	}
	return err
}
