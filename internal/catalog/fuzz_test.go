package catalog

import (
	"testing"

	"google.golang.org/protobuf/proto"

	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// FuzzUnmarshal checks that stored bytes of any kind of record give an error or a record that the catalog takes
// or refuses, and never a panic.
func FuzzUnmarshal(f *testing.F) {
	for kind, record := range []proto.Message{
		&commandv1.Cluster{ClusterUid: make([]byte, 16), ClusterId: "c", UserShards: 32, SharedShards: 1},
		&commandv1.Member{ReplicaId: 1, StoreId: make([]byte, 16)},
		&commandv1.Namespace{Name: "n"},
		&commandv1.User{},
		&commandv1.Table{Id: 1, Namespace: "n", Name: "t", Columns: []*commandv1.Column{{Id: 1, Name: "c", Type: &commandv1.Type{Kind: 1}}}},
		&commandv1.View{Namespace: "n", Name: "v", Columns: []*commandv1.Column{{Name: "c", Type: &commandv1.Type{Kind: 1}}}},
		&commandv1.Storage{},
	} {
		data, err := Marshal(record)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(kind), data)
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		switch kind % 7 {
		case 0:
			taken(t, data, ClusterFromProto)
		case 1:
			taken(t, data, MemberFromProto)
		case 2:
			taken(t, data, func(p *commandv1.Namespace) (*Namespace, error) { return NamespaceFromProto(p), nil })
		case 3:
			taken(t, data, UserFromProto)
		case 4:
			if table, err := UnmarshalTable(data); err == nil && table == nil {
				t.Error("a table that is none was taken")
			}
			taken(t, data, TableFromProto)
		case 5:
			taken(t, data, ViewFromProto)
		case 6:
			taken(t, data, StorageFromProto)
		}
	})
}

// taken reads a record and wants something or an error.
func taken[P any, M interface {
	proto.Message
	*P
}, R any](t *testing.T, data []byte, from func(M) (*R, error)) {
	t.Helper()
	record := M(new(P))
	if err := Unmarshal(data, record); err != nil {
		return
	}
	got, err := from(record)
	if (got == nil) == (err == nil) {
		t.Fatalf("%v gives %v and the error %v", record, got, err)
	}
}
