package applier

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestClusterBeginsWithTables founds clusters with tables: the ids are those of the places in the list, whatever the command says, and
// what cannot be begun with leaves nothing behind.
func TestClusterBeginsWithTables(t *testing.T) {
	t.Parallel()
	sixteen := func(b byte) []byte { return append(make([]byte, 15), b) }
	table := func(kind uint32, namespace, name string) *commandv1.Table {
		return &commandv1.Table{Id: 7, Group: 7, Version: 7, Kind: kind, Namespace: namespace, Name: name, Columns: []*commandv1.Column{
			{Id: 1, Name: "id", Type: &commandv1.Type{Kind: 4}, PrimaryKey: true},
		}}
	}
	found := func(tables ...*commandv1.Table) *commandv1.Command {
		return &commandv1.Command{Body: &commandv1.Command_Found{Found: &commandv1.Found{
			ClusterUid: sixteen(1), ClusterId: "local", UserShards: 4, SharedShards: 2, Tables: tables,
			Member: &commandv1.Member{NodeId: 1, StoreId: sixteen(2), RpcAddr: "a:1", ApiAddr: "a:2"},
		}}}
	}
	store := &catalog.Store{}
	meta, batch := NewMeta(store), newBatch(t)
	check(t, meta.Restore(batch))
	for name, refused := range map[string]*commandv1.Command{
		"private rows":      found(table(1, "dba", "one")),
		"unknown namespace": found(table(2, "app", "one")),
		"twice":             found(table(2, "dba", "one"), table(2, "dba", "one")),
		"without a name":    found(table(2, "dba", "")),
	} {
		response, err := meta.Apply(batch, 1, refused)
		check(t, err)
		if fault.KindOf(command.Failure(response)) != fault.InvalidStatement || batch.Count() != 0 {
			t.Errorf("%s: %v, %d writes", name, response, batch.Count())
		}
	}
	response, err := meta.Apply(batch, 1, found(table(2, "dba", "one"), table(2, "default", "two")))
	check(t, err)
	check(t, command.Failure(response))
	picture, err := catalog.Load(batch)
	check(t, err)
	for place, name := range []string{"dba.one", "default.two"} {
		got, ok := picture.TableByID(ident.ReservedTable(place))
		if !ok || got.FullName() != name || got.Version != 1 || got.Group != picture.Cluster().Shards.RouteTable(got.ID) || !got.ID.Reserved() {
			t.Errorf("table %d is %+v", place, got)
		}
	}
}
