package server

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestRestoreThatLostItsJobIsRefused claims a job twice, as two nodes do: what the first run of its restore sends afterwards is refused, and the job knows
// which backup the first one began with.
func TestRestoreThatLostItsJobIsRefused(t *testing.T) {
	t.Parallel()
	n, _ := oneNode(t, withShards(1, 1))
	execute := func(cmd *commandv1.Command) (*commandv1.Response, error) {
		return n.exec.Execute(t.Context(), shard.Meta, cmd)
	}
	must := func(response *commandv1.Response, err error) uint64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return response.GetObjectId()
	}
	number := must(execute(&commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{
		Job: &commandv1.Job{Type: "a kind that no node runs", IdPrefix: "XX", MaxRetries: 3},
	}}}))
	claim := func() uint64 {
		t.Helper()
		return must(execute(&commandv1.Command{Body: &commandv1.Command_ClaimJob{ClaimJob: &commandv1.ClaimJob{
			Number: number, NodeId: 1, Term: 1 << 40, HoldMicros: 1 << 40,
		}}}))
	}
	restore := func(token uint64) error {
		_, err := execute(&commandv1.Command{Body: &commandv1.Command_RestoreCatalog{RestoreCatalog: &commandv1.RestoreCatalog{
			Backup: "cluster/the-first", Job: number, Token: token,
		}}})
		return err
	}
	first := claim()
	if err := restore(first); err != nil {
		t.Fatal(err)
	}
	job, _, err := catalog.LoadJob(n.store, number)
	if err != nil || job.GetRestoring() != "cluster/the-first" {
		t.Errorf("the job restores %q, %v", job.GetRestoring(), err)
	}
	must(execute(&commandv1.Command{Body: &commandv1.Command_ReleaseJob{ReleaseJob: &commandv1.ReleaseJob{Claim: job.GetClaim()}}}))
	if err := restore(first); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a run that gave its job back: %v", err)
	}
	second := claim()
	if err := restore(first); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a run that lost its job: %v", err)
	}
	if err := restore(second); err != nil {
		t.Errorf("the run that has the job: %v", err)
	}
}
