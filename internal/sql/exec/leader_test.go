package exec_test

import (
	"context"
	"crypto/rand"
	"sync/atomic"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// otherLeads makes a node believe that a member of the cluster leads its groups: all of them, or the meta group alone. What is forwarded to
// it is applied here.
type otherLeads struct {
	proposer executor.Proposer
	onlyMeta atomic.Bool
	audits   atomic.Int64 // commands that were forwarded in the meta group
}

func (*otherLeads) Self() ident.ReplicaID { return 9 }

func (p *otherLeads) Leader(group shard.GroupID) ident.ReplicaID {
	if group != shard.Meta && p.onlyMeta.Load() {
		return p.Self()
	}
	return 1
}

func (p *otherLeads) Forward(
	ctx context.Context, _ ident.ReplicaID, mode executor.Mode, group shard.GroupID, id ident.RequestID, data []byte,
) executor.Attempt {
	if group == shard.Meta {
		p.audits.Add(1)
	}
	return p.proposer.Propose(ctx, mode, group, id, data)
}

// TestAuditNamesNoLeader: the entry that EXECUTE AS USER leaves in the audit log goes to the leader of the meta group, which says nothing about
// where changes of the table go.
func TestAuditNamesNoLeader(t *testing.T) {
	t.Parallel()
	peers := &otherLeads{}
	n := startNode(t, func(deps *exec.Deps) {
		deps.AuditEntries = 100
		proposer, ok := deps.Cluster.(*node)
		if !ok {
			t.Fatal("the parts of a node do not tell which it is")
		}
		peers.proposer = proposer
		deps.Executor = executor.NewRaft(proposer, peers, deps.Clock, rand.Reader, 0, executor.Modes{}, nil)
	})
	n.must(t, "CREATE USER TABLE app.notes (id INT PRIMARY KEY)")
	change := func(user string) string {
		t.Helper()
		response, err := n.engine.Execute(t.Context(), exec.Request{
			SQL: "EXECUTE AS USER '" + user + "' (INSERT INTO app.notes VALUES (1))", Session: admin(), TellLeader: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		return response.Leader
	}
	if told := change("bob"); told != "127.0.0.1:2" {
		t.Errorf("the leader of the rows is said to be %q", told)
	}
	peers.onlyMeta.Store(true)
	before := peers.audits.Load()
	if told := change("ann"); told != "" {
		t.Errorf("rows of this node are said to be led by %q", told)
	}
	if peers.audits.Load() == before {
		t.Error("no entry went to the leader of the meta group")
	}
}
