package server

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// RecoverReport is what a recovery found and did.
type RecoverReport struct {
	Node      ident.NodeID
	ClusterID string
	Survivors []ident.NodeID
	Lost      []ident.NodeID
	Groups    []multiraft.RecoveredGroup
	Observed  []shard.GroupID // groups in which this node was not to vote
	// AlreadyDone says that the survivors are the only members and voters; nothing is to be changed.
	AlreadyDone bool
}

// Recover makes survivors, of which this directory's node must be one, the only members of the cluster in a
// stopped node's data directory. It is for a cluster whose majority is lost for good. Without commit it only
// looks: committed entries are applied, as any start of the node would, and nothing else is changed.
//
// The recovered cluster has another cluster uid, which follows from the old one and the survivors, so that
// nodes of the lost majority which come back are refused. An interrupted call can be repeated.
func Recover(dir string, survivors []ident.NodeID, commit bool) (*RecoverReport, error) {
	n, err := openStopped(dir)
	if n != nil {
		defer func() {
			// What matters is durable; closing only frees files and locks.
			_ = n.closeStores()
		}()
	}
	if err != nil {
		return nil, err
	}
	if !slices.Contains(survivors, n.identity.Node) {
		return nil, fmt.Errorf("%s belongs to node %d, which is not among the survivors", dir, n.identity.Node)
	}
	recovery, err := multiraft.OpenRecovery(n.store, n.log, n.identity.Shards.Groups(), n.quietMachine)
	if err != nil {
		return nil, err
	}
	plan, err := n.planRecovery(recovery, survivors)
	if err != nil || plan.report.AlreadyDone || !commit {
		return plan.report, err
	}
	if err := recovery.Rewrite(plan.replicas, plan.stage); err != nil {
		return plan.report, err
	}
	id := n.identity
	id.Cluster, id.Members = plan.uid, nil
	return plan.report, id.save(n.fs, dir)
}

// quietMachine makes the state machine of a group; nobody listens to what it applies.
func (n *Node) quietMachine(group shard.GroupID) multiraft.StateMachine {
	machine, err := statemachine.NewWith(group, n.catalog, statemachine.Options{RequestWindow: n.identity.Window})
	if err != nil {
		panic(fmt.Sprintf("server: group %d of the shard map: %v", uint64(group), err))
	}
	return machine
}

// openStopped opens the directory of a node that does not run, with the configuration it was founded with.
func openStopped(dir string) (*Node, error) {
	fsys := disk.Watch(disk.Local(), clock.Real{})
	raw, err := readFile(fsys, filepath.Join(dir, identityFile))
	if err != nil {
		return nil, fmt.Errorf("%s is no data directory: %w", dir, err)
	}
	id, err := parseIdentity(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, identityFile), err)
	}
	if id.State != stateMember || id.ClusterID == "" {
		return nil, fmt.Errorf("%s is not the directory of a member of a cluster (state %q)", dir, id.State)
	}
	cfg := config.Default()
	cfg.Storage.DataPath = dir
	cfg.Cluster.ClusterID, cfg.Cluster.NodeID = id.ClusterID, uint64(id.Node)
	cfg.Cluster.UserShards, cfg.Cluster.SharedShards = int(id.Shards.UserShards), int(id.Shards.SharedShards)
	cfg.Cluster.RequestWindow = statemachine.RequestWindow(id.Window)
	cfg.Raft.LogStore = cmp.Or(id.LogStore, config.LogSegments)
	n := &Node{
		cfg: cfg, logger: slog.New(slog.DiscardHandler), random: rand.Reader, fs: fsys, catalog: catalog.NewStore(),
		failed: make(chan struct{}),
	}
	return n, n.openDirectory()
}

// recoveryPlan is what a recovery is going to write.
type recoveryPlan struct {
	report   *RecoverReport
	replicas []ident.ReplicaID
	uid      ident.ClusterUID
	cluster  *catalog.Cluster
	members  []*catalog.Member

	observers []*catalog.Member // survivors without a vote in some groups; they vote everywhere from now on
}

func (n *Node) planRecovery(recovery *multiraft.Recovery, survivors []ident.NodeID) (*recoveryPlan, error) {
	self := n.identity.Replica
	plan := &recoveryPlan{report: &RecoverReport{
		Node: n.identity.Node, ClusterID: n.identity.ClusterID, Groups: recovery.Groups(self),
	}}
	current := n.catalog.Current()
	if plan.cluster = current.Cluster(); plan.cluster == nil {
		return plan, errors.New("the catalog never reached this node; it cannot carry the cluster on")
	}
	for _, m := range liveMembers(current) {
		if slices.Contains(survivors, m.Node) {
			plan.replicas = append(plan.replicas, m.Replica)
			plan.report.Survivors = append(plan.report.Survivors, m.Node)
			if len(m.Observes) > 0 {
				plan.observers = append(plan.observers, m)
			}
		} else {
			plan.report.Lost = append(plan.report.Lost, m.Node)
		}
	}
	for _, node := range survivors {
		if !slices.Contains(plan.report.Survivors, node) {
			return plan, fmt.Errorf("node %d is not a member of the cluster", uint64(node))
		}
	}
	if !slices.Contains(plan.replicas, self) {
		return plan, fmt.Errorf("node %d has another data directory by now; this one was replaced", uint64(n.identity.Node))
	}
	slices.Sort(plan.replicas)
	if len(plan.replicas) > multiraft.MaxSurvivors {
		return plan, fmt.Errorf("%d survivors are given, and at most %d can go on together; if a majority of the cluster is left, just start it",
			len(plan.replicas), multiraft.MaxSurvivors)
	}
	plan.report.AlreadyDone = len(plan.report.Lost)+len(plan.observers) == 0 && n.identity.Cluster == plan.cluster.UID
	for _, g := range plan.report.Groups {
		plan.report.AlreadyDone = plan.report.AlreadyDone && slices.Equal(g.Members, plan.replicas)
	}
	plan.noteObserved(self)
	plan.uid = recoveredUID(n.identity.Cluster, plan.replicas)
	plan.cluster, plan.members = current.Recovered(n.identity.Cluster, plan.uid, plan.replicas)
	return plan, nil
}

// noteObserved tells apart who has no vote in a group because it was taken, and has the state, and who had not caught up yet.
func (p *recoveryPlan) noteObserved(self ident.ReplicaID) {
	for _, m := range p.observers {
		if m.Replica != self {
			continue
		}
		for i := range p.report.Groups {
			if g := &p.report.Groups[i]; g.Learner && !m.Votes(g.Group) {
				g.Learner = false
				p.report.Observed = append(p.report.Observed, g.Group)
			}
		}
	}
}

// recoveredUID names a recovered cluster. All survivors come to the same name.
func recoveredUID(old ident.ClusterUID, survivors []ident.ReplicaID) (uid ident.ClusterUID) {
	seed := append([]byte("kalamdb recover\x00"), old[:]...)
	for _, replica := range survivors {
		seed = binary.BigEndian.AppendUint64(seed, uint64(replica))
	}
	sum := sha256.Sum256(seed)
	copy(uid[:], sum[:])
	return uid
}

// stage writes what the meta group will know from now on.
func (p *recoveryPlan) stage(batch *storage.Batch) error {
	value, err := catalog.MarshalCluster(p.cluster)
	if err != nil {
		return err
	}
	if err = batch.Set(keys.Cluster(), value); err != nil {
		return fmt.Errorf("rewrite the cluster: %w", err)
	}
	for _, m := range p.members {
		if value, err = catalog.Marshal(catalog.MemberToProto(m)); err != nil {
			return err
		}
		if err = batch.Set(keys.Member(m.Replica), value); err != nil {
			return fmt.Errorf("rewrite member %d: %w", uint64(m.Replica), err)
		}
	}
	return nil
}
