package catalog

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// TestRaisedClusterIsMarked: the first byte tells a cluster whose log format is raised from others, so that a program that
// knows one format only refuses it, and a format of the future, or a mark without one, is refused here.
func TestRaisedClusterIsMarked(t *testing.T) {
	t.Parallel()
	for _, format := range []uint32{0, command.LogFormat} {
		cluster := &Cluster{ID: "c", Shards: shard.Default(), LogFormat: format}
		value, err := MarshalCluster(cluster)
		if err != nil {
			t.Fatal(err)
		}
		if raised := value[0] != storedFormat; raised != (format > 0) {
			t.Errorf("format %d: %x", format, value)
		}
		back, err := unmarshalCluster(value)
		if diff := cmp.Diff(cluster, back); err != nil || diff != "" {
			t.Errorf("format %d: %v\n%s", format, err, diff)
		}
		value[0] = 3 - value[0]
		if back, err = unmarshalCluster(value); err == nil {
			t.Errorf("format %d with the other mark is taken as %+v", format, back)
		}
	}
	value, err := MarshalCluster(&Cluster{ID: "c", Shards: shard.Default(), LogFormat: command.LogFormat + 1})
	if err != nil {
		t.Fatal(err)
	}
	if back, err := unmarshalCluster(value); err == nil {
		t.Errorf("a format of the future is taken as %+v", back)
	}
}
