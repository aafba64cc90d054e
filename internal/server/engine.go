package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/invariant"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// newStateMachine makes the state machine of a group. Groups come from the shard map, so each has a class.
func (n *Node) newStateMachine(group shard.GroupID) multiraft.StateMachine {
	machine, err := statemachine.NewWith(group, n.catalog, statemachine.Options{
		Publisher: n.live.feed, RequestWindow: n.who().Window,
	})
	if err != nil {
		panic(fmt.Sprintf("server: group %d of the shard map: %v", uint64(group), err))
	}
	return machine
}

// members tells the engine's reconciler what the catalog records.
func (n *Node) members() []multiraft.Member {
	stored := n.catalog.Current().Members()
	members := make([]multiraft.Member, len(stored))
	for i, m := range stored {
		members[i] = multiraft.Member{Replica: m.Replica, Node: m.Node, Replaces: m.Replaces, Removed: m.Removed, Observes: m.Observes}
	}
	return members
}

// runAlone starts the standalone form, founding the directory when it is new.
func (n *Node) runAlone() error {
	if n.who().State != stateMember {
		if err := n.found(""); err != nil {
			return err
		}
	}
	solo, err := multiraft.OpenSolo(n.engineConfig(n.who()))
	if err != nil {
		return err
	}
	solo.Start()
	n.mu.Lock()
	n.solo = solo
	n.mu.Unlock()
	n.exec.set(executor.NewDirect(soloProposer{solo}, n.clock, n.random, n.remember(solo.Applied)))
	n.watch(solo.Failed(), solo.Failure)
	return nil
}

// runClustered starts the replicated form.
func (n *Node) runClustered() error {
	id := n.who()
	if id.ClusterID == "" {
		// A standalone directory becomes the first node of the cluster that is configured now.
		id.ClusterID = n.cfg.Cluster.ClusterID
		if err := n.become(id); err != nil {
			return err
		}
	}
	manager, err := multiraft.Open(n.engineConfig(id), n.network)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.manager = manager
	n.mu.Unlock()
	n.network.SetIdentity(transport.Identity{ClusterUID: id.Cluster, Replica: id.Replica, Address: n.advertisedRPC()})
	draining, holds := n.orders.pending(n.clock.Now())
	manager.Avoid(manager.Self(), draining)
	for group, period := range holds {
		manager.Hold(group, period)
	}
	manager.Start()
	peers := clusterPeers{manager: manager, network: n.network}
	proposing := executor.NewRaft(managerProposer{manager}, peers, n.clock, n.random, n.cfg.Cluster.ReplicationTimeout(),
		n.modes(), n.remember(manager.Applied))
	proposing.SetReads(n.reads())
	proposing.SetFormat(n.commonFormat)
	n.mu.Lock()
	n.proposing = proposing
	n.mu.Unlock()
	n.exec.set(proposing)
	n.watch(manager.Failed(), manager.Failure)
	return nil
}

// modes are the cluster's replication modes by class of group.
func (n *Node) modes() executor.Modes {
	cluster := n.cfg.Cluster
	mode := func(ofClass string) executor.Mode {
		if ofClass == "default" {
			ofClass = cluster.ReplicationMode
		}
		if ofClass == "all" {
			return executor.All
		}
		return executor.Quorum
	}
	return executor.Modes{
		Meta: mode(cluster.MetaReplicationMode), User: mode(cluster.UserReplicationMode),
		Shared: mode(cluster.SharedReplicationMode),
	}
}

// reads is how queries read that do not ask for a level. The configuration was checked.
func (n *Node) reads() executor.Reads {
	level, err := executor.ParseReadLevel(n.cfg.Cluster.ReadLevel)
	invariant.Check(err == nil, "cluster.read_level: %v", err)
	return executor.Reads{Level: level, Staleness: time.Duration(n.cfg.Cluster.MaxStalenessMillis) * time.Millisecond}
}

// watch stops the node when the engine fails.
func (n *Node) watch(failed <-chan struct{}, why func() error) {
	n.spawn(func() {
		select {
		case <-failed:
			n.fail(why())
		case <-n.closed:
		}
	})
}

// notAnnounced is what a node waits for between its admission and its first round of house-keeping.
const notAnnounced = "the node has not announced itself yet"

// afterAdmission does what every start of a member owes: the cluster's first command, this node's current
// addresses, the root user; then it keeps house until the context ends.
func (n *Node) afterAdmission(ctx context.Context) {
	n.setWaiting(notAnnounced)
	n.spawn(func() { n.gossip.keepAsking(ctx) })
	for ctx.Err() == nil {
		bound, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := n.announce(bound)
		cancel()
		if err == nil {
			break
		}
		n.setWaiting(fmt.Sprintf("the node could not announce itself: %v", err))
		// It may have been removed before it came to this; then nobody will ever take its announcement.
		n.noticeRemoval()
		n.pause(ctx, announcePause)
	}
	if ctx.Err() == nil {
		if err := n.openLocal(); err != nil {
			n.fail(err)
			return
		}
		n.tendLocal(ctx)
	}
	n.setWaiting("")
	var recording sync.WaitGroup
	recording.Go(func() { n.recordStats(ctx) })
	n.keepHouse(ctx)
	recording.Wait()
}

// pause waits, or until ctx ends.
func (n *Node) pause(ctx context.Context, d time.Duration) {
	_ = clock.Pause(ctx, n.clock, d) // whoever calls it looks at ctx next
}

// announce writes into the meta group what it does not know of this node. It is idempotent.
func (n *Node) announce(ctx context.Context) error {
	if _, err := n.exec.Barrier(ctx, shard.Meta); err != nil {
		return err
	}
	id := n.who()
	self := &commandv1.Member{
		ReplicaId: uint64(id.Replica), NodeId: uint64(id.Node), StoreId: id.Store[:],
		RpcAddr: n.advertisedRPC(), ApiAddr: n.advertisedAPI(),
	}
	current := n.catalog.Current()
	if current.Cluster() == nil {
		if id.Replica != 1 {
			return errors.New("the meta group has not said yet which cluster this is")
		}
		_, err := n.exec.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_Found{Found: &commandv1.Found{
			ClusterUid: id.Cluster[:], ClusterId: id.ClusterID, Member: self,
			UserShards: id.Shards.UserShards, SharedShards: id.Shards.SharedShards, RequestWindow: id.Window,
			Tables: firstTables(),
		}}})
		if err != nil {
			return fmt.Errorf("found: %w", err)
		}
	} else if m, ok := current.Member(id.Replica); !ok || m.RPCAddr != self.GetRpcAddr() || m.APIAddr != self.GetApiAddr() {
		_, err := n.exec.Execute(ctx, shard.Meta, &commandv1.Command{
			Body: &commandv1.Command_AddMember{AddMember: addMember(current, self, n.logFormat)},
		})
		if err != nil {
			return fmt.Errorf("announce addresses: %w", err)
		}
	}
	return n.users.EnsureRoot(ctx, n.cfg.Auth.RootPassword)
}

// soloProposer and managerProposer translate the engine's errors into outcomes.
type soloProposer struct{ *multiraft.Solo }

// Propose implements executor.Proposer.
func (s soloProposer) Propose(ctx context.Context, _ executor.Mode, group shard.GroupID, id ident.RequestID, data []byte) executor.Attempt {
	return attemptOf(s.Solo.Propose(ctx, group, id, data))
}

type managerProposer struct{ *multiraft.Manager }

// Propose implements executor.Proposer.
func (m managerProposer) Propose(ctx context.Context, mode executor.Mode, group shard.GroupID, id ident.RequestID, data []byte) executor.Attempt {
	if mode == executor.All {
		return attemptOf(m.ProposeAll(ctx, group, id, data))
	}
	return attemptOf(m.Manager.Propose(ctx, group, id, data))
}

func attemptOf(result []byte, index uint64, err error) executor.Attempt {
	if err == nil { // the usual end costs no search
		return executor.Attempt{Outcome: executor.Done, Result: result, Index: index}
	}
	var notLeader *multiraft.NotLeaderError
	var behind *multiraft.BehindError
	var missing *multiraft.MissingVoterError
	switch {
	case errors.As(err, &behind):
		return executor.Attempt{Outcome: executor.Behind, Result: result, Index: index, Err: err}
	case errors.As(err, &missing):
		return executor.Attempt{Outcome: executor.Missing, Err: err}
	case errors.As(err, &notLeader):
		return executor.Attempt{Outcome: executor.NotLeader, Leader: notLeader.Leader, Err: err}
	case errors.Is(err, multiraft.ErrDiskFull):
		return executor.Attempt{Outcome: executor.DiskFull, Err: err}
	case errors.Is(err, multiraft.ErrOverloaded):
		return executor.Attempt{Outcome: executor.Overloaded, Err: err}
	case errors.Is(err, multiraft.ErrTooLarge):
		return executor.Attempt{Outcome: executor.TooLarge, Err: err}
	case errors.Is(err, multiraft.ErrStopped), errors.Is(err, multiraft.ErrUnknownGroup):
		return executor.Attempt{Outcome: executor.Stopped, Err: err}
	}
	return executor.Attempt{Outcome: executor.Unknown, Err: err}
}

// clusterPeers implements executor.Peers over the transport.
type clusterPeers struct {
	manager *multiraft.Manager
	network *transport.GRPC
}

// Self implements executor.Peers.
func (p clusterPeers) Self() ident.ReplicaID { return p.manager.Self() }

// Leader implements executor.Peers.
func (p clusterPeers) Leader(group shard.GroupID) ident.ReplicaID { return p.manager.Leader(group) }

// Forward implements executor.Peers.
func (p clusterPeers) Forward(
	ctx context.Context, to ident.ReplicaID, mode executor.Mode, group shard.GroupID, id ident.RequestID, data []byte,
) executor.Attempt {
	ctx, done := p.whileLeading(ctx, group, to)
	defer done()
	return p.ask(ctx, to, mode, group, id, data)
}

// ask runs one attempt at another replica, whoever leads.
func (p clusterPeers) ask(
	ctx context.Context, to ident.ReplicaID, mode executor.Mode, group shard.GroupID, id ident.RequestID, data []byte,
) executor.Attempt {
	answer, err := p.network.Forward(ctx, to, &nodev1.ForwardRequest{
		Group: uint64(group), RequestId: id[:], Data: data, All: mode == executor.All,
	})
	switch {
	case errors.Is(err, transport.ErrNotDelivered):
		return executor.Attempt{Outcome: executor.Unreachable, Err: err}
	case err != nil:
		return executor.Attempt{Outcome: executor.Unknown, Err: err}
	}
	refused := errors.New(answer.GetMessage())
	switch answer.GetError() {
	case nodev1.ForwardError_FORWARD_ERROR_UNSPECIFIED:
		return executor.Attempt{Outcome: executor.Done, Result: answer.GetResult(), Index: answer.GetIndex()}
	case nodev1.ForwardError_FORWARD_ERROR_NOT_LEADER:
		return executor.Attempt{Outcome: executor.NotLeader, Leader: ident.ReplicaID(answer.GetLeaderHint()), Err: refused}
	case nodev1.ForwardError_FORWARD_ERROR_DISK_FULL:
		return executor.Attempt{Outcome: executor.DiskFull, Err: refused}
	case nodev1.ForwardError_FORWARD_ERROR_OVERLOADED:
		return executor.Attempt{Outcome: executor.Overloaded, Err: refused}
	case nodev1.ForwardError_FORWARD_ERROR_STOPPED:
		return executor.Attempt{Outcome: executor.Stopped, Err: refused}
	case nodev1.ForwardError_FORWARD_ERROR_TOO_LARGE:
		return executor.Attempt{Outcome: executor.TooLarge, Err: refused}
	case nodev1.ForwardError_FORWARD_ERROR_BEHIND:
		return executor.Attempt{Outcome: executor.Behind, Result: answer.GetResult(), Index: answer.GetIndex(), Err: refused}
	case nodev1.ForwardError_FORWARD_ERROR_MISSING_VOTER:
		return executor.Attempt{Outcome: executor.Missing, Err: refused}
	case nodev1.ForwardError_FORWARD_ERROR_OUTCOME_UNKNOWN:
	}
	return executor.Attempt{Outcome: executor.Unknown, Err: refused}
}

// catalogMember finds a live member by node number.
func catalogMember(c *catalog.Catalog, node ident.NodeID) (*catalog.Member, bool) {
	for _, m := range c.Members() {
		if m.Node == node && !m.Removed {
			return m, true
		}
	}
	return nil, false
}
