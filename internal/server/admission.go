package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

const (
	announcePause = 150 * time.Millisecond // of a new member until the meta group has a leader
	peerPatience  = 2 * time.Second        // for the answer of one peer
)

// seekAdmission makes a fresh data directory a member: it joins the cluster that a peer belongs to, or, as
// the configured node with the lowest number, founds it once every configured node has answered and none of them
// belongs to a cluster. A majority would not do: two nodes with new disks and an old one that is away would make a
// second cluster. It tries for ever; an error is final.
func (n *Node) seekAdmission(ctx context.Context) error {
	cluster := n.cfg.Cluster
	pause, longest := cluster.PeerWait()
	for attempt := 0; ; attempt++ {
		done, err := n.tryAdmission(ctx)
		if done || err != nil {
			return err
		}
		switch {
		case attempt == cluster.PeerWaitMaxRetries:
			n.logger.Warn("no cluster was found in time; the node goes on looking", slog.String("reason", n.whyWaiting()))
		case attempt%20 == 0:
			n.logger.Info("not a member yet", slog.String("reason", n.whyWaiting()))
		}
		if err := clock.Pause(ctx, n.clock, pause); err != nil {
			return err
		}
		pause = min(2*pause, longest)
	}
}

func (n *Node) tryAdmission(ctx context.Context) (done bool, err error) {
	peers, unresolved := n.seeds(ctx)
	lowest, waiting := true, "waiting for a peer that is a member of the cluster"
	var silent []string
	for _, peer := range peers {
		lowest = lowest && n.cfg.Cluster.NodeID < peer.NodeID
		info, err := n.askPeer(ctx, peer)
		switch {
		case err != nil:
			silent = append(silent, fmt.Sprintf("%s does not answer: %v", nameOf(peer), err))
		case n.isSelf(info):
		case info.GetClusterId() != n.cfg.Cluster.ClusterID:
			return false, fmt.Errorf("cluster.cluster_id = %q: the peer at %s is configured for cluster %q",
				n.cfg.Cluster.ClusterID, peer.RPCAddr, info.GetClusterId())
		case info.GetReplicaId() != 0:
			return n.join(ctx, peer)
		case peer.NodeID != 0 && info.GetNodeId() != peer.NodeID:
			silent = append(silent, fmt.Sprintf("%s is node %d", nameOf(peer), info.GetNodeId()))
		case len(info.GetClusterUid()) > 0:
			// It was a member: a cluster exists, or existed.
			silent = append(silent, nameOf(peer)+" is being repaired and cannot admit anybody")
		}
	}
	silent = append(silent, unresolved...)
	repairing := n.who().State == stateRepairing
	founds := lowest && !n.cfg.Cluster.Join.Wanted && !repairing
	if repairing {
		waiting = "the data was damaged and is to be fetched from the other nodes"
	}
	switch {
	case founds && len(silent) == 0:
		return true, n.found(n.cfg.Cluster.ClusterID)
	case founds:
		waiting = "a cluster is founded once all of cluster.peers have answered; start the missing ones or take them out of the list: "
	case len(silent) > 0:
		waiting += ": "
	}
	n.setWaiting(waiting + strings.Join(silent, "; "))
	return false, nil
}

// nameOf prints a peer for people.
func nameOf(peer config.Peer) string {
	if peer.NodeID == 0 {
		return "the node at " + peer.RPCAddr
	}
	return fmt.Sprintf("node %d at %s", peer.NodeID, peer.RPCAddr)
}

// isSelf reports whether the node that answered is this one: a name may lead to all nodes.
func (n *Node) isSelf(info *nodev1.GetNodeInfoResponse) bool {
	store := n.who().Store
	return bytes.Equal(info.GetStoreId(), store[:])
}

func (n *Node) askPeer(ctx context.Context, peer config.Peer) (*nodev1.GetNodeInfoResponse, error) {
	bound, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	return n.network.NodeInfo(bound, peer.RPCAddr, &nodev1.GetNodeInfoRequest{})
}

// join asks a member to admit this store and starts as what it is told to be.
func (n *Node) join(ctx context.Context, peer config.Peer) (done bool, err error) {
	bound, cancel := context.WithTimeout(ctx, n.cfg.Cluster.ReplicationTimeout())
	defer cancel()
	id := n.who()
	answer, err := n.network.Join(bound, peer.RPCAddr, &nodev1.JoinRequest{
		ClusterId: n.cfg.Cluster.ClusterID, NodeId: n.cfg.Cluster.NodeID, StoreId: id.Store[:],
		RpcAddr: n.cfg.Cluster.RPCAddr, ApiAddr: n.advertisedAPI(), RequestWindow: configuredWindow(n.cfg),
		LogFormat: n.logFormat, VotesIn: n.invitedTo(),
		UserShards: configuredShards(n.cfg).UserShards, SharedShards: configuredShards(n.cfg).SharedShards,
	})
	if err != nil {
		n.setWaiting(fmt.Sprintf("%s did not answer the request to join: %v", nameOf(peer), err))
		return false, nil
	}
	if answer.GetRefused() != "" {
		n.setWaiting(answer.GetRefused())
		if answer.GetRetry() {
			return false, nil
		}
		return false, fmt.Errorf("the cluster refused this node: %s", answer.GetRefused())
	}
	shards := shard.Map{UserShards: answer.GetUserShards(), SharedShards: answer.GetSharedShards()}
	if have := configuredShards(n.cfg); have != shards { // who admitted this node runs a version that does not look
		return false, shardsMismatch(have, shards)
	}
	if configuredWindow(n.cfg) != answer.GetRequestWindow() {
		return false, windowMismatch(configuredWindow(n.cfg), answer.GetRequestWindow())
	}
	before := id.Cluster
	if copy(id.Cluster[:], answer.GetClusterUid()) != len(id.Cluster) || answer.GetReplicaId() == 0 {
		return false, fmt.Errorf("%s answered the request to join without an identity", nameOf(peer))
	}
	if id.State == stateRepairing && id.Cluster != before {
		return false, fmt.Errorf("node %d belongs to cluster %s; the damaged data of this node, which was put aside, belongs to %s. "+
			"Empty the data directory to join all the same", peer.NodeID, id.Cluster, before)
	}
	id.State, id.Node, id.ClusterID = stateMember, ident.NodeID(n.cfg.Cluster.NodeID), n.cfg.Cluster.ClusterID
	id.Replica, id.Shards = ident.ReplicaID(answer.GetReplicaId()), shards
	id.Window = answer.GetRequestWindow()
	id.Members, id.Invited = nil, invitation{}
	for _, m := range answer.GetMembers() {
		id.Members = append(id.Members, knownMember{
			Replica: ident.ReplicaID(m.GetReplicaId()), Node: ident.NodeID(m.GetNodeId()),
			RPCAddr: m.GetRpcAddr(), APIAddr: m.GetApiAddr(),
		})
	}
	if err := n.become(id); err != nil {
		return false, err
	}
	n.logger.Info("joined the cluster", slog.Uint64("replica_id", uint64(id.Replica)), slog.String("through", nameOf(peer)))
	return true, n.runClustered()
}

// shardsMismatch says that a node would divide rows otherwise than its cluster.
func shardsMismatch(node, cluster shard.Map) error {
	return fmt.Errorf("cluster.user_shards = %d, cluster.shared_shards = %d: the cluster was founded with %d and %d, and this cannot be changed; "+
		"set cluster.user_shards = %[3]d and cluster.shared_shards = %[4]d in the configuration of this node, and start it again",
		node.UserShards, node.SharedShards, cluster.UserShards, cluster.SharedShards)
}

// windowMismatch says that a node and its cluster would not forget requests alike.
func windowMismatch(node, cluster uint64) error {
	return fmt.Errorf("cluster.request_window = %d: the cluster was founded with %d",
		statemachine.RequestWindow(node), statemachine.RequestWindow(cluster))
}

// found makes this directory the first member of a new cluster and starts it. A crash before the last step
// leaves the state `founding`, and the next start begins again from nothing.
func (n *Node) found(clusterID string) error {
	id := n.who()
	id.State, id.Node, id.ClusterID = stateFounding, ident.NodeID(n.cfg.Cluster.NodeID), clusterID
	id.Shards, id.Window = configuredShards(n.cfg), configuredWindow(n.cfg)
	if _, err := io.ReadFull(n.random, id.Cluster[:]); err != nil {
		return fmt.Errorf("draw a cluster id: %w", err)
	}
	if err := n.become(id); err != nil {
		return err
	}
	id.Replica = 1
	if err := multiraft.Found(n.store, n.log, id.Shards.Groups(), id.Replica); err != nil {
		return err
	}
	id.State, id.Invited = stateMember, invitation{}
	if err := n.become(id); err != nil {
		return err
	}
	n.logger.Info("founded the cluster", slog.String("cluster_id", clusterID), slog.String("cluster_uid", id.Cluster.String()))
	if clusterID == "" {
		return nil
	}
	return n.runClustered()
}

// become stores a new identity and takes it on. A directory that was found damaged becomes nothing but empty.
func (n *Node) become(id identity) error {
	n.becoming.Lock()
	defer n.becoming.Unlock()
	if n.who().State == stateDamaged && id.State != stateRepairing {
		return ErrDamaged
	}
	return n.keep(id)
}

// keep is become for who holds its lock.
func (n *Node) keep(id identity) error {
	if err := id.save(n.fs, n.cfg.Storage.DataPath); err != nil {
		return err
	}
	n.mu.Lock()
	n.identity = id
	n.mu.Unlock()
	return nil
}

func (n *Node) setWaiting(reason string) {
	n.mu.Lock()
	n.waiting = reason
	n.mu.Unlock()
}

func (n *Node) whyWaiting() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.waiting
}

// admitted reports whether the engine runs.
func (n *Node) admitted() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.manager != nil || n.solo != nil
}
