package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// groupPage is how many groups are read at once; a node returns no more rows by default.
const groupPage = 1000

// clusterState is what one node knows of the cluster.
type clusterState struct {
	nodes    []map[string]any
	groups   []map[string]any // one for each group and node
	count    int              // of groups
	problems []string
}

func (c *clusterCommands) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "show the members and what they lead, and groups without a leader",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(command *cobra.Command, _ []string) error {
			state, err := c.state(command.Context())
			if err != nil {
				return err
			}
			if err := c.printState(command.OutOrStdout(), state); err != nil {
				return err
			}
			if len(state.problems) > 0 {
				return &degradedError{fmt.Sprintf("%d problems", len(state.problems))}
			}
			return nil
		},
	}
}

// state reads the system views of the node.
func (c *clusterCommands) state(ctx context.Context) (*clusterState, error) {
	nodes, err := c.client.sql(ctx, "SELECT node_id, role, status, groups_leading, total_groups, replication_lag, "+
		"catchup_progress_pct, api_addr, rpc_addr, version, uptime_human FROM system.cluster ORDER BY node_id LIMIT 1000")
	if err != nil {
		return nil, err
	}
	state := &clusterState{nodes: nodes.objects()}
	for _, node := range state.nodes {
		if node["status"] != "active" {
			state.problems = append(state.problems, fmt.Sprintf("node %v is %v", node["node_id"], node["status"]))
		}
	}
	for page := 0; ; page++ {
		groups, err := c.client.sql(ctx, fmt.Sprintf("SELECT group_id, node_id, group_type, state, current_leader, "+
			"current_term, last_log_index, committed, last_applied, purged FROM system.cluster_groups ORDER BY group_id, node_id "+
			"LIMIT %d OFFSET %d",
			groupPage, page*groupPage))
		if err != nil {
			return nil, err
		}
		state.groups = append(state.groups, groups.objects()...)
		if len(groups.rows) < groupPage {
			break
		}
	}
	known := map[string]bool{}
	for _, group := range state.groups {
		id := fmt.Sprint(group["group_id"])
		if group["current_leader"] == nil && !known[id] {
			state.problems = append(state.problems, fmt.Sprintf("group %v has no leader that this node knows", id))
		}
		known[id] = true
	}
	state.count = len(known)
	return state, nil
}

func (c *clusterCommands) printState(out io.Writer, state *clusterState) error {
	if c.json {
		problems := state.problems
		if problems == nil {
			problems = []string{}
		}
		return printObject(out, map[string]any{"nodes": state.nodes, "groups": state.groups, "problems": problems})
	}
	columns := []string{
		"node_id", "status", "role", "groups_leading", "replication_lag", "catchup_progress_pct", "api_addr", "rpc_addr",
		"version", "uptime_human",
	}
	if err := printTable(out, columns, state.nodes); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "\n%d groups\n", state.count); err != nil {
		return err
	}
	for _, problem := range state.problems {
		if _, err := fmt.Fprintln(out, "problem:", problem); err != nil {
			return err
		}
	}
	return nil
}
