package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kalamdb/kalamdb-go/internal/backup"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

// verified is what the verify command prints as JSON.
type verified struct {
	Backup   string   `json:"backup"`
	Cluster  string   `json:"cluster_id"`
	Tables   int      `json:"tables"`
	Rows     uint64   `json:"rows"`
	Chunks   int      `json:"chunks"`
	Problems []string `json:"problems"` // at most 100
}

// newVerifyCommand reads a backup in a directory.
func newVerifyCommand() *cobra.Command {
	name, asJSON := "", false
	command := &cobra.Command{
		Use:   "verify [--backup <name>] [--json] <directory>",
		Short: "read a backup and say whether it is whole",
		Long: "Reads every byte of a backup that BACKUP DATABASE has written into a directory, the newest one when none is\n" +
			"named: every checksum, whether all records can be decoded, and whether each table has the rows that the\n" +
			"manifest says. The backup is not changed, and no server is needed.\n\n" +
			"It exits with 0 when the backup is whole, with 1 when it is damaged, and with 2 when there is none.",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(command *cobra.Command, args []string) error {
			// A store makes its directory, and here is nothing to be made.
			if _, err := os.Stat(filepath.Join(args[0], "backups")); err != nil {
				return &usageError{fmt.Errorf("%s holds no backups: %w", args[0], err)}
			}
			store, err := objstore.OpenDir(disk.Local(), args[0])
			if err != nil {
				return err
			}
			report, err := backup.Verify(command.Context(), store, name, func(uint32, string) {})
			switch {
			case errors.Is(err, backup.ErrNoBackup):
				return &usageError{err}
			case err != nil:
				return err
			}
			found := verified{
				Backup: report.Manifest.Name, Cluster: report.Manifest.ClusterID, Tables: len(report.Manifest.Tables),
				Rows: report.Manifest.Totals.Rows, Chunks: report.Chunks, Problems: report.Problems,
			}
			if err = printVerified(command.OutOrStdout(), &found, asJSON); err == nil && len(found.Problems) > 0 {
				err = fmt.Errorf("backup %s is damaged: %d findings; take another one", found.Backup, len(found.Problems))
			}
			return err
		},
	}
	command.Flags().StringVar(&name, "backup", "", "which backup; the newest when left out")
	command.Flags().BoolVar(&asJSON, "json", false, "print what was found as JSON")
	return command
}

func printVerified(out io.Writer, v *verified, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(v)
	}
	_, err := fmt.Fprintf(out, "backup %s of cluster %q: %d tables, %d rows, %d chunks read\n", v.Backup, v.Cluster, v.Tables, v.Rows, v.Chunks)
	for _, problem := range v.Problems {
		_, lineErr := fmt.Fprintln(out, "DAMAGE", problem)
		err = errors.Join(err, lineErr)
	}
	if len(v.Problems) == 0 {
		_, lineErr := fmt.Fprintln(out, "no damage")
		err = errors.Join(err, lineErr)
	}
	return err
}
