package catalog

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// TestRecoveryIsRepeated: a recovery that was not finished is repeated, also with fewer survivors, and leaves what one that was not interrupted leaves.
func TestRecoveryIsRepeated(t *testing.T) {
	t.Parallel()
	picture := func(cluster *Cluster, members []*Member) *Catalog {
		e := (&Catalog{}).Edit()
		e.SetCluster(cluster)
		for _, m := range members {
			e.SetMember(m)
		}
		return e.Picture()
	}
	first, uid := ident.ClusterUID{1}, ident.ClusterUID{2}
	whole := picture(&Cluster{UID: first}, []*Member{
		{Replica: 1, Observes: []shard.GroupID{10}},
		{Replica: 2, Removed: true, Replaces: 1},
		{Replica: 3, Replaces: 2},
		{Replica: 4, Replaces: 2},
	})
	want := picture(whole.Recovered(first, uid, []ident.ReplicaID{1, 3}))
	wanted := []*Member{
		{Replica: 1, Lost: []Standing{{Observes: []shard.GroupID{10}}}},
		{Replica: 2, Removed: true, Lost: []Standing{{Removed: true, Replaces: 1}}},
		{Replica: 3, Replaces: 2, Lost: []Standing{{Replaces: 2}}},
		{Replica: 4, Removed: true, Lost: []Standing{{Replaces: 2}}},
	}
	if diff := cmp.Diff(wanted, want.Members()); diff != "" {
		t.Error(diff)
	}
	half := picture(whole.Recovered(first, ident.ClusterUID{3}, []ident.ReplicaID{1, 3, 4}))
	for _, begun := range []*Catalog{want, half} {
		comparePictures(t, want, picture(begun.Recovered(first, uid, []ident.ReplicaID{1, 3})))
	}
}

// TestMembersKnowTheClustersThatAreLost: a record that lacks what a lost cluster said is damage.
func TestMembersKnowTheClustersThatAreLost(t *testing.T) {
	t.Parallel()
	_, records := samplePicture()
	records[string(keys.Member(1))] = MemberToProto(&Member{Replica: 1, Lost: []Standing{{}}})
	b := newBatch(t)
	store(t, b, records)
	if _, err := Load(b); !errors.Is(err, errMalformed) {
		t.Errorf("loaded, %v", err)
	}
}
