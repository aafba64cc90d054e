package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kalamdb/kalamdb-go/internal/certificate"
)

const day = 24 * time.Hour

// newCertCommand makes the certificates with which the nodes of a cluster know each other.
func newCertCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "cert", Short: "make certificates for the connections between nodes",
		Long: "Makes certificates for the connections between nodes: first one authority for the cluster, then one\n" +
			"certificate for each node. Keep ca.key away from the nodes: who has it can make a member.",
		Args: usageArgs(cobra.NoArgs), RunE: onlyHelp,
	}
	command.AddCommand(newCertAuthorityCommand(), newCertNodeCommand())
	return command
}

func newCertAuthorityCommand() *cobra.Command {
	var dir, name string
	var days int
	command := &cobra.Command{
		Use: "ca", Short: "make the authority: ca.crt and ca.key",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(command *cobra.Command, _ []string) error {
			if _, err := os.Stat(filepath.Join(dir, "ca.key")); !errors.Is(err, fs.ErrNotExist) {
				return &usageError{fmt.Errorf("%s is there already; an authority that is replaced cuts off every node", filepath.Join(dir, "ca.key"))}
			}
			pair, err := certificate.NewAuthority(name, time.Now(), time.Duration(days)*day)
			if err != nil {
				return err
			}
			return writePair(command, dir, "ca", pair)
		},
	}
	command.Flags().StringVar(&dir, "dir", ".", "where the files go")
	command.Flags().StringVar(&name, "name", "KalamDB cluster authority", "name of the authority")
	command.Flags().IntVar(&days, "days", 3650, "days it is valid")
	return command
}

func newCertNodeCommand() *cobra.Command {
	var dir string
	var node certificate.Node
	var days int
	command := &cobra.Command{
		Use: "node --cluster <cluster_id> --node <node_id> --host <name or address>...", Short: "make a node's certificate: node-<id>.crt and node-<id>.key",
		Long: "Makes the certificate of one node, signed by ca.crt and ca.key in the same directory. Repeated, it renews\n" +
			"the certificate. A node reads its files again when they change; it need not be restarted.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(command *cobra.Command, _ []string) error {
			var authority certificate.Pair
			var err error
			if authority.Cert, err = os.ReadFile(filepath.Join(dir, "ca.crt")); err == nil { //nolint:gosec // the operator names the directory
				authority.Key, err = os.ReadFile(filepath.Join(dir, "ca.key")) //nolint:gosec // as above
			}
			if err != nil {
				return &usageError{fmt.Errorf("read the authority, which `kalamdb cert ca` makes: %w", err)}
			}
			pair, err := certificate.Issue(authority, node, time.Now(), time.Duration(days)*day)
			if err != nil {
				return &usageError{err}
			}
			return writePair(command, dir, fmt.Sprintf("node-%d", node.NodeID), pair)
		},
	}
	flags := command.Flags()
	flags.StringVar(&dir, "dir", ".", "where ca.crt and ca.key are and the files go")
	flags.StringVar(&node.ClusterID, "cluster", "", "cluster.cluster_id")
	flags.Uint64Var(&node.NodeID, "node", 0, "cluster.node_id")
	flags.StringSliceVar(&node.Hosts, "host", nil, "name or address in cluster.rpc_addr, without the port; may be repeated")
	flags.IntVar(&days, "days", 365, "days it is valid")
	return command
}

// writePair writes both files, each as a whole; the key first, so that a node which reads in between finds two
// files that do not fit and waits for the other.
func writePair(command *cobra.Command, dir, name string, pair certificate.Pair) error {
	const forOwner, forAll = 0o600, 0o644
	key, cert := filepath.Join(dir, name+".key"), filepath.Join(dir, name+".crt")
	if err := replaceFile(key, pair.Key, forOwner); err != nil {
		return err
	}
	if err := replaceFile(cert, pair.Cert, forAll); err != nil {
		return err
	}
	_, err := fmt.Fprintf(command.OutOrStdout(), "%s\n%s\n", cert, key)
	return err
}

// replaceFile writes a file beside its place and moves it there.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	draft, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = draft.Write(content)
	err = errors.Join(err, draft.Chmod(mode), draft.Sync(), draft.Close())
	if err == nil {
		err = os.Rename(draft.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(draft.Name())))
	}
	return nil
}
