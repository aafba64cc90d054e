package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Cluster is an order to the cluster itself.
type Cluster struct{ Order *parse.Cluster }

func (*Cluster) statement() {}

// ClusterColumns are the columns of the answer to a CLUSTER statement.
func ClusterColumns() []Column {
	text, bigInt := datum.Of(datum.Text), datum.Of(datum.BigInt)
	return []Column{
		{Name: "action", Type: text},
		{Name: "group_id", Type: bigInt},
		{Name: "success", Type: datum.Of(datum.Boolean)},
		{Name: "error", Type: text},
		{Name: "snapshot_index", Type: bigInt},
		{Name: "target_node_id", Type: bigInt},
		{Name: "upto", Type: bigInt},
		{Name: "snapshots_dir", Type: text},
	}
}

// clusterStatement binds a CLUSTER statement; what other statements do better is refused with their names.
func clusterStatement(node *parse.Cluster) (Statement, error) {
	switch {
	case node.Action == parse.ClusterList, node.Action == parse.ClusterStatus:
		return nil, invalid(node, "read the cluster with SELECT * FROM system.cluster and SELECT * FROM system.cluster_groups")
	case node.Action == parse.ClusterLeave && node.Node == 0:
		return nil, invalid(node, "name the node that is to leave for good, CLUSTER LEAVE n; to stop one for a while, "+
			"use CLUSTER DRAIN n and end its process")
	}
	return &Cluster{Order: node}, nil
}
