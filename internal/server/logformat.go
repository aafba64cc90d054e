package server

import (
	"context"
	"log/slog"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// This file sees to it that log entries of a newer format are written only where every member reads them. Each node says
// which format its program reads; once all members have said it, the leader of the meta group raises the
// cluster's, for ever: from then on a store joins only with a program that reads it, and an earlier program does not start on
// the directory of a member.

// packs is multiraft.Config.Packs.
func (n *Node) packs() bool {
	return n.commonFormat() >= command.PackedFormat
}

// commonFormat is the format of logs that every member reads.
func (n *Node) commonFormat() uint32 {
	if cluster := n.catalog.Current().Cluster(); cluster != nil {
		return cluster.LogFormat
	}
	return 0
}

// fencesRestores reports whether every member heeds the token of a restore. A standalone node is all of them.
func (n *Node) fencesRestores() bool {
	cluster := n.catalog.Current().Cluster()
	return cluster != nil && (n.cfg.Standalone() || cluster.LogFormat >= command.RestoreFormat)
}

// fencesJobs reports whether every member heeds the token with which a backup is recorded, and the index of a purge.
func (n *Node) fencesJobs() bool {
	cluster := n.catalog.Current().Cluster()
	return cluster != nil && (n.cfg.Standalone() || cluster.LogFormat >= command.BackupFormat)
}

// raiseLogFormat raises the format of the logs when this node leads the meta group and all members read a later one.
func (n *Node) raiseLogFormat(ctx context.Context) {
	manager, current := n.engine(), n.catalog.Current()
	if manager == nil || current.Cluster() == nil || manager.Leader(shard.Meta) != n.self() {
		return
	}
	format := n.logFormat
	for _, m := range current.Members() {
		if m.Removed {
			continue
		}
		info, fresh := n.gossip.get(m.Replica)
		if !fresh {
			return
		}
		format = min(format, info.GetLogFormat())
	}
	if format <= current.Cluster().LogFormat {
		return
	}
	bound, cancel := context.WithTimeout(ctx, housePeriod)
	defer cancel()
	_, err := n.exec.Execute(bound, shard.Meta, &commandv1.Command{Body: &commandv1.Command_RaiseLogFormat{
		RaiseLogFormat: &commandv1.RaiseLogFormat{LogFormat: format, LastReplica: uint64(current.LastReplica())},
	}})
	if err != nil {
		n.logger.Info("the format of the logs is not raised yet", slog.Any("error", err))
		return
	}
	n.logger.Info("all members read a later format of the logs", slog.Uint64("log_format", uint64(format)))
}

// refuseOldLogs keeps a new store out whose program does not read the cluster's logs.
func refuseOldLogs(current *catalog.Catalog, store ident.StoreID, req *nodev1.JoinRequest) *nodev1.JoinResponse {
	if _, known := current.MemberByStore(store); known || req.GetLogFormat() >= current.Cluster().LogFormat {
		return nil
	}
	return refuseJoin(false, "the logs of this cluster have format %d, the program of node %d reads %d; start the node with the version "+
		"that the cluster runs", current.Cluster().LogFormat, req.GetNodeId(), req.GetLogFormat())
}

// refuseSelection refuses a node that is to vote in some groups only, as long as a member would not read so.
func refuseSelection(current *catalog.Catalog, req *nodev1.JoinRequest) *nodev1.JoinResponse {
	if len(req.GetVotesIn()) == 0 || current.Cluster().LogFormat >= command.VotesFormat {
		return nil
	}
	return refuseJoin(true, "node %d was invited for some groups only, and a member runs an earlier version that does not know of this",
		req.GetNodeId())
}

// addMember makes the command that records a store, of which the program reads a format. What a member of an earlier version
// would not read is set only where the cluster's is raised.
func addMember(current *catalog.Catalog, member *commandv1.Member, format uint32) *commandv1.AddMember {
	add := &commandv1.AddMember{Member: member}
	if current.Cluster().LogFormat > 0 {
		add.LogFormat = format
	}
	if cluster := current.Cluster(); cluster.LogFormat >= command.VotesFormat || len(cluster.Lost) > 0 {
		add.ClusterUid = cluster.UID[:]
	}
	return add
}
