package catalog

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func sampleTable() *schema.Table {
	return &schema.Table{
		ID: 17, Namespace: "app", Name: "notes", Kind: schema.KindShared, Access: schema.AccessPublic,
		Version: 1, Group: 200, NextColumnID: 5, Options: map[string]string{"A": "1", "B": "2"},
		CreatedMicros: 10, UpdatedMicros: 11,
		Columns: []schema.Column{
			{
				ID: 1, Name: "id", Type: datum.Type{Kind: datum.BigInt}, PrimaryKey: true, Unique: true,
				Default: schema.Default{Kind: schema.DefaultSnowflake},
			},
			{ID: 2, Name: "price", Type: datum.Type{Kind: datum.Decimal, Precision: 38, Scale: 2}, Nullable: true},
			{ID: 3, Name: "vector", Type: datum.Type{Kind: datum.Embedding, Dims: 8192}, Nullable: true},
			{
				ID: 4, Name: "title", Type: datum.Type{Kind: datum.Text},
				Default: schema.Default{Kind: schema.DefaultLiteral, Literal: datum.NewText("none")},
			},
		},
	}
}

func TestTableSurvivesItsStoredForm(t *testing.T) {
	t.Parallel()
	want := sampleTable()
	got, err := TableFromProto(TableToProto(want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b datum.Datum) bool { return a.Kind() == b.Kind() && datum.Equal(a, b) })); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestTableFromProtoRefusesNonsense(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*commandv1.Table){
		"no name":             func(p *commandv1.Table) { p.Name = "" },
		"no namespace":        func(p *commandv1.Table) { p.Namespace = "" },
		"no kind":             func(p *commandv1.Table) { p.Kind = 0 },
		"unknown kind":        func(p *commandv1.Table) { p.Kind = 257 },
		"unknown access":      func(p *commandv1.Table) { p.Access = 256 },
		"no columns":          func(p *commandv1.Table) { p.Columns = nil },
		"column twice":        func(p *commandv1.Table) { p.Columns[1].Name = "id" },
		"column id twice":     func(p *commandv1.Table) { p.Columns[1].Id = 1 },
		"nameless column":     func(p *commandv1.Table) { p.Columns[1].Name = "" },
		"typeless column":     func(p *commandv1.Table) { p.Columns[1].Type = nil },
		"unknown type":        func(p *commandv1.Table) { p.Columns[1].Type.Kind = 260 },
		"array column":        func(p *commandv1.Table) { p.Columns[1].Type.Kind = uint32(datum.Array) },
		"precision too large": func(p *commandv1.Table) { p.Columns[1].Type.Precision = 256 },
		"scale too large":     func(p *commandv1.Table) { p.Columns[1].Type.Scale = 256 },
		"dims too large":      func(p *commandv1.Table) { p.Columns[2].Type.Dims = 1 << 16 },
		"unknown default":     func(p *commandv1.Table) { p.Columns[1].DefaultKind = 256 },
		"empty literal":       func(p *commandv1.Table) { p.Columns[3].DefaultLiteral = nil },
		"long literal":        func(p *commandv1.Table) { p.Columns[3].DefaultLiteral = append(p.Columns[3].DefaultLiteral, 0) },
	} {
		p := TableToProto(sampleTable())
		spoil(p)
		if got, err := TableFromProto(p); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}

// samplePicture is a picture with everything in it, and its records by key.
func samplePicture() (*Catalog, map[string]proto.Message) {
	cluster := &Cluster{UID: ident.ClusterUID{1}, ID: "local", Shards: shard.Default(), FoundedMicros: 5, Lost: []ident.ClusterUID{{2}, {3}}}
	member := &Member{Replica: 2, Node: 7, Store: ident.StoreID{9}, RPCAddr: "r", APIAddr: "a", Replaces: 1, JoinedMicros: 6}
	member.Lost = []Standing{{Replaces: 1, Observes: []shard.GroupID{shard.SharedShard(0)}}, {Removed: true}}
	removed := &Member{Replica: 1, Node: 7, Store: ident.StoreID{8}, Removed: true, Lost: []Standing{{}, Gone()}}
	namespace := &Namespace{Name: "app", Options: map[string]string{"k": "v"}, CreatedMicros: 7}
	table := sampleTable()
	dropped := sampleTable()
	dropped.ID, dropped.UpdatedMicros = 12, 99
	alice := &User{
		ID: "alice", PasswordHash: "$2a$", Role: session.RoleDBA, Email: "e", AuthType: "password", AuthData: "{}",
		FailedLogins: 1, LockedUntilMicros: 2, LastLoginMicros: 3, CreatedMicros: 4, UpdatedMicros: 5,
	}
	bob := &User{ID: "bob", Role: session.RoleUser, DeletedMicros: 8}

	view := &View{
		Table: &schema.Table{
			Namespace: "app", Name: "v", Kind: schema.KindView, Version: 2, NextColumnID: 3, CreatedMicros: 4, UpdatedMicros: 5,
			Columns: []schema.Column{
				{ID: 1, Name: "list", Type: datum.Type{Kind: datum.Array, Elem: datum.BigInt}, Nullable: true},
				{ID: 2, Name: "wait", Type: datum.Of(datum.Interval), Nullable: true},
			},
		},
		Query: "SELECT 1", Within: "app", Uses: []ObjectName{{"app", "notes"}}, Restricted: true,
	}
	e := (&Catalog{}).Edit()
	e.SetIndex(40)
	e.SetLastReplica(2)
	e.SetCluster(cluster)
	e.SetMember(member)
	e.SetMember(removed)
	e.SetNamespace(namespace)
	e.SetTable(table)
	e.SetUser(alice)
	e.SetUser(bob)
	e.SetCleanup(&Cleanup{Table: dropped, DroppedMicros: 99})
	e.SetView(view)
	return e.Picture(), map[string]proto.Message{
		string(keys.Cluster()):        ClusterToProto(cluster),
		string(keys.Member(2)):        MemberToProto(member),
		string(keys.Member(1)):        MemberToProto(removed),
		string(keys.Namespace("app")): NamespaceToProto(namespace),
		string(keys.Table(17)):        TableToProto(table),
		string(keys.User("alice")):    UserToProto(alice),
		string(keys.User("bob")):      UserToProto(bob),
		string(keys.Cleanup(12)):      TableToProto(dropped),
		string(keys.View("app", "v")): ViewToProto(view),
	}
}

func newBatch(tb testing.TB) *storage.Batch {
	tb.Helper()
	e, err := storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store"})
	if err != nil {
		tb.Fatal(err)
	}
	b := e.NewBatch()
	tb.Cleanup(func() {
		if err := b.Close(); err != nil {
			tb.Error(err)
		}
		if err := e.Close(); err != nil {
			tb.Error(err)
		}
	})
	return b
}

func store(tb testing.TB, b *storage.Batch, records map[string]proto.Message) {
	tb.Helper()
	for key, record := range records {
		value, err := Marshal(record)
		if err != nil {
			tb.Fatal(err)
		}
		if err := b.Set([]byte(key), value); err != nil {
			tb.Fatal(err)
		}
	}
}

// content is everything a picture shows, for comparison.
func content(c *Catalog) map[string]any {
	return map[string]any{
		"index": c.Index(), "cluster": c.Cluster(), "last replica": c.LastReplica(), "members": c.Members(),
		"namespaces": c.Namespaces(), "tables": c.Tables(), "users": c.Users(true), "live users": c.Users(false),
		"user count": c.UserCount(), "cleanups": c.Cleanups(), "views": c.Views(),
	}
}

func comparePictures(t *testing.T, want, got *Catalog) {
	t.Helper()
	if diff := cmp.Diff(content(want), content(got), cmp.Comparer(func(a, b datum.Datum) bool { return a.Kind() == b.Kind() && datum.Equal(a, b) })); diff != "" {
		t.Errorf("picture (-want +got):\n%s", diff)
	}
}

func TestLoadBuildsThePictureThatWasStored(t *testing.T) {
	t.Parallel()
	want, records := samplePicture()
	b := newBatch(t)
	store(t, b, records)
	for name, value := range map[string]byte{SequenceIndex: 40, SequenceReplica: 2} {
		if err := b.Set(keys.Sequence(name), []byte{0, 0, 0, 0, 0, 0, 0, value}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Load(b)
	if err != nil {
		t.Fatal(err)
	}
	comparePictures(t, want, got)
	empty, err := Load(newBatch(t))
	if err != nil {
		t.Fatal(err)
	}
	comparePictures(t, &Catalog{}, empty)
}

func TestLoadRefusesMalformedRecords(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]struct{ key, value []byte }{
		"unknown format":         {keys.User("x"), []byte{2}},
		"no bytes":               {keys.Cluster(), nil},
		"no message":             {keys.Table(1), []byte{storedFormat, 0xff}},
		"short sequence":         {keys.Sequence(SequenceIndex), []byte{1}},
		"short replica sequence": {keys.Sequence(SequenceReplica), []byte{1}},
	} {
		b := newBatch(t)
		if err := b.Set(write.key, write.value); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(b); err == nil {
			t.Errorf("%s was loaded", name)
		}
	}
	_, good := samplePicture()
	for name, record := range map[string]struct {
		key    []byte
		record proto.Message
	}{
		"user of another key":   {keys.User("carol"), good[string(keys.User("alice"))]},
		"member of another key": {keys.Member(3), good[string(keys.Member(2))]},
		"table of another key":  {keys.Table(18), good[string(keys.Table(17))]},
		"user without id":       {keys.User(""), &commandv1.User{}},
		"user of unknown role":  {keys.User("x"), &commandv1.User{Id: "x", Role: 9}},
		"member without store":  {keys.Member(3), &commandv1.Member{ReplicaId: 3}},
		"cluster without uid":   {keys.Cluster(), &commandv1.Cluster{UserShards: 1, SharedShards: 1}},
		"cluster of no shards":  {keys.Cluster(), &commandv1.Cluster{ClusterUid: make([]byte, 16)}},
		"view of another key":   {keys.View("app", "w"), good[string(keys.View("app", "v"))]},
		"view without columns":  {keys.View("app", "w"), &commandv1.View{Namespace: "app", Name: "w", Query: "SELECT 1"}},
		"cleanup of no table":   {keys.Cleanup(3), &commandv1.Table{Id: 3}},
	} {
		b := newBatch(t)
		store(t, b, map[string]proto.Message{string(record.key): record.record})
		if _, err := Load(b); err == nil {
			t.Errorf("%s was loaded", name)
		}
	}
}

func TestAccessors(t *testing.T) {
	t.Parallel()
	c, _ := samplePicture()
	if table, ok := c.Table("app", "notes"); !ok || table.ID != 17 {
		t.Errorf("table by name: %v, %v", table, ok)
	}
	if table, ok := c.TableByID(17); !ok || table.Name != "notes" {
		t.Errorf("table by id: %v, %v", table, ok)
	}
	if _, ok := c.TableByID(12); ok {
		t.Error("a dropped table is shown")
	}
	if _, ok := c.User("bob"); ok {
		t.Error("a deleted user is shown")
	}
	if user, ok := c.UserOrDeleted("bob"); !ok || !user.Deleted() {
		t.Error("a deleted user is lost")
	}
	if member, ok := c.MemberByStore(ident.StoreID{9}); !ok || member.Replica != 2 {
		t.Errorf("member by store: %v, %v", member, ok)
	}
	if _, ok := c.MemberByStore(ident.StoreID{7}); ok {
		t.Error("an unknown store is a member")
	}
	shared, ok := c.Cleanup(12)
	if !ok || !cmp.Equal(shared.Groups(shard.Default()), []shard.GroupID{200}) {
		t.Errorf("cleanup of a shared table: %v", shared)
	}
	private := &Cleanup{Table: &schema.Table{Kind: schema.KindUser}}
	if groups := private.Groups(shard.Map{UserShards: 2, SharedShards: 1}); !cmp.Equal(groups, []shard.GroupID{100, 101}) {
		t.Errorf("cleanup of a user table: %v", groups)
	}
}

// TestTablesInDoesNotMixNamespaces uses names that would mix if they were only glued together.
func TestTablesInDoesNotMixNamespaces(t *testing.T) {
	t.Parallel()
	e := (&Catalog{}).Edit()
	for i, name := range [][2]string{{"a", "z"}, {"a", "b"}, {"a_b", "c"}, {"ab", "a"}, {"a0", "x"}} {
		e.SetTable(&schema.Table{ID: ident.TableID(i + 1), Namespace: name[0], Name: name[1]})
	}
	var got []string
	for _, table := range e.TablesIn("a") {
		got = append(got, table.FullName())
	}
	if diff := cmp.Diff([]string{"a.b", "a.z"}, got); diff != "" {
		t.Errorf("tables in a (-want +got):\n%s", diff)
	}
	if list := e.TablesIn("b"); len(list) != 0 {
		t.Errorf("tables in b: %v", list)
	}
}

func TestEditsDoNotShowInOlderPictures(t *testing.T) {
	t.Parallel()
	before, _ := samplePicture()
	want, _ := samplePicture()
	e := before.Edit()
	e.SetIndex(41)
	e.DeleteNamespace("app")
	e.DeleteTable(17)
	renamed := sampleTable()
	renamed.ID, renamed.Name = 18, "other"
	e.SetTable(renamed)
	e.SetUser(&User{ID: "bob", Role: session.RoleUser})
	e.SetUser(&User{ID: "alice", DeletedMicros: 1})
	e.DeleteCleanup(12)
	between := e.Picture()
	again := sampleTable()
	again.ID, again.Name = 18, "third"
	e.SetTable(again)
	comparePictures(t, want, before)
	if _, ok := between.Table("app", "other"); !ok {
		t.Error("a later edit shows in an older picture")
	}
	if _, ok := e.Table("app", "other"); ok {
		t.Error("a renamed table keeps its old name")
	}
	if between.UserCount() != 1 || len(between.Users(false)) != 1 || len(between.Users(true)) != 2 {
		t.Errorf("users: %d counted, %v", between.UserCount(), between.Users(false))
	}
}

func TestStorePublishes(t *testing.T) {
	t.Parallel()
	s := NewStore()
	if s.Current() == nil || s.Index() != 0 || s.Current().Cluster() != nil {
		t.Errorf("a new store shows %+v", s.Current())
	}
	c, _ := samplePicture()
	s.Publish(c)
	if s.Current() != c || s.Index() != 40 {
		t.Error("the published picture is not current")
	}
}

func manyUsers(n int) *Catalog {
	list := make([]*User, n)
	for i := range list {
		list[i] = &User{ID: ident.UserID(fmt.Sprintf("user-%07d", i)), Role: session.RoleUser}
	}
	return &Catalog{users: treeOf(list, func(u *User) ident.UserID { return u.ID })}
}

// BenchmarkEditOf100kUsers is one change of one account, published.
func BenchmarkEditOf100kUsers(b *testing.B) {
	store := NewStore()
	store.Publish(manyUsers(100_000))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e := store.Current().Edit()
		e.SetUser(&User{ID: ident.UserID(fmt.Sprintf("user-%07d", i*7919%100_000)), Role: session.RoleUser})
		e.SetIndex(uint64(i))
		store.Publish(e.Picture())
	}
}

func BenchmarkUserOf100k(b *testing.B) {
	c := manyUsers(100_000)
	for b.Loop() {
		if _, ok := c.User("user-0054321"); !ok {
			b.Fatal("lost")
		}
	}
}

func BenchmarkLoad100kUsers(b *testing.B) {
	batch := newBatch(b)
	for _, u := range manyUsers(100_000).Users(true) {
		store(b, batch, map[string]proto.Message{string(keys.User(u.ID)): UserToProto(u)})
	}
	for b.Loop() {
		if _, err := Load(batch); err != nil {
			b.Fatal(err)
		}
	}
}
