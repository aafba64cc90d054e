package command

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden file")

func sixteen(b byte) []byte { return bytes.Repeat([]byte{b}, 16) }

func header() *commandv1.Header {
	return &commandv1.Header{
		RequestId: sixteen(0xa1), MinIndex: 300, NowMicros: 1_700_000_000_000_000, MetaIndex: 12, Actor: "root",
	}
}

// examples has every command once, with every field set to something that is not its zero value.
func examples() []*commandv1.Command {
	member := &commandv1.Member{
		ReplicaId: 2, NodeId: 7, StoreId: sixteen(0xb2), RpcAddr: "127.0.0.1:9188", ApiAddr: "http://127.0.0.1:8080",
		Replaces: 1, Removed: true, JoinedMicros: 5,
	}
	table := &commandv1.Table{
		Id: 17, Namespace: "app", Name: "notes", Kind: 1, Access: 1, Version: 1, Group: 200, NextColumnId: 3,
		Options: map[string]string{"TTL": "60", "ACCESS": "x", "FLUSH": "rows:1"}, CreatedMicros: 1, UpdatedMicros: 2,
		Columns: []*commandv1.Column{
			{Id: 1, Name: "id", Type: &commandv1.Type{Kind: 4}, PrimaryKey: true, Unique: true, DefaultKind: 3},
			{
				Id: 2, Name: "price", Type: &commandv1.Type{Kind: 7, Precision: 10, Scale: 2, Dims: 1}, Nullable: true,
				DefaultKind: 1, DefaultLiteral: []byte{1, 2},
			},
		},
	}
	user := &commandv1.User{
		Id: "alice", PasswordHash: "$2a$", Role: 1, Email: "a@b.c", AuthType: "password", AuthData: "{}", FailedLogins: 1,
		LockedUntilMicros: 2, LastLoginMicros: 3, CreatedMicros: 4, UpdatedMicros: 5, DeletedMicros: 6,
	}
	write := &commandv1.WriteRows{
		Scopes: []*commandv1.ScopeUnchanged{{TableId: 17, User: "alice", Index: 99}},
		Rows: []*commandv1.RowWrite{
			{
				TableId: 17, User: "alice", PrimaryKey: []byte{0x80, 1}, Row: []byte{1, 2, 3},
				Expect: commandv1.Expect_EXPECT_ABSENT, KeyText: "1",
			},
			{
				TableId: 17, User: "alice", PrimaryKey: []byte{0x80, 2}, Row: []byte{4}, Deleted: true,
				Expect: commandv1.Expect_EXPECT_SEQ, ExpectSeq: 65_536,
			},
		},
	}
	bodies := []*commandv1.Command{
		{Body: &commandv1.Command_CreateNamespace{CreateNamespace: &commandv1.CreateNamespace{
			Name: "app", IfNotExists: true, Options: map[string]string{"b": "2", "a": "1", "c": "3"},
		}}},
		{Body: &commandv1.Command_DropNamespace{DropNamespace: &commandv1.DropNamespace{Name: "app", IfExists: true}}},
		{Body: &commandv1.Command_CreateTable{CreateTable: &commandv1.CreateTable{Table: table, IfNotExists: true}}},
		{Body: &commandv1.Command_DropTable{DropTable: &commandv1.DropTable{Namespace: "app", Name: "notes", IfExists: true}}},
		{Body: &commandv1.Command_CreateUser{CreateUser: &commandv1.CreateUser{User: user, IfNotExists: true}}},
		{Body: &commandv1.Command_AlterUser{AlterUser: &commandv1.AlterUser{
			Id: "alice", PasswordHash: new("$2a$"), Role: new(uint32(2)), Email: new(""),
		}}},
		{Body: &commandv1.Command_DropUser{DropUser: &commandv1.DropUser{Id: "alice", IfExists: true}}},
		{Body: &commandv1.Command_RecordLogin{RecordLogin: &commandv1.RecordLogin{
			Id: "alice", Success: true, LockAfter: 5, LockForMicros: 900_000_000,
		}}},
		{Body: &commandv1.Command_AddMember{AddMember: &commandv1.AddMember{Member: member}}},
		{Body: &commandv1.Command_RemoveMember{RemoveMember: &commandv1.RemoveMember{ReplicaId: 2}}},
		{Body: &commandv1.Command_CleanupDone{CleanupDone: &commandv1.CleanupDone{TableId: 17}}},
		{Body: &commandv1.Command_Found{Found: &commandv1.Found{
			ClusterUid: sixteen(0xc3), ClusterId: "local", UserShards: 32, SharedShards: 1, Member: member,
		}}},
		{Body: &commandv1.Command_WriteRows{WriteRows: write}},
		{Body: &commandv1.Command_PurgeTable{PurgeTable: &commandv1.PurgeTable{TableId: 17}}},
	}
	bodies = append(bodies, jobExamples()...)
	bodies = append(bodies, &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{
		Rows: write.GetRows()[1:],
		Reads: []*commandv1.RowRead{
			{TableId: 17, User: "alice", PrimaryKey: []byte{0x80, 3}, Seq: 65_537},
			{TableId: 17, User: "alice", PrimaryKey: []byte{0x80, 4}},
		},
	}}})
	bodies = append(bodies, &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{
		Rows: write.GetRows()[1:],
		Spans: []*commandv1.SpanUnchanged{
			{TableId: 17, User: "alice", Low: []byte{0x80, 3}, High: []byte{0x80, 9}, Index: 99},
			{TableId: 18, Low: []byte{0x80, 4}},
		},
	}}})
	bodies = append(bodies, &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{
		Rows: write.GetRows()[1:],
		IndexSpans: []*commandv1.IndexSpanUnchanged{
			{TableId: 17, User: "alice", IndexId: 3, Low: []byte{0x80, 3}, High: []byte{0x80, 9}, Index: 99, Entries: 4},
			{TableId: 18, IndexId: 1},
		},
	}}})
	bodies = append(bodies, &commandv1.Command{Body: &commandv1.Command_Found{Found: &commandv1.Found{
		ClusterUid: sixteen(0xc3), ClusterId: "local", UserShards: 32, SharedShards: 1, Member: member,
		Tables: []*commandv1.Table{table},
	}}})
	for _, recorded := range []*commandv1.WriteRows{
		{Rows: write.GetRows()[:1], Reply: []byte{1, 2}},
		{Refusal: &commandv1.Failure{Kind: uint32(fault.NotNull), Message: "NOT NULL violation"}},
	} {
		bodies = append(bodies, &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: recorded}})
	}
	bodies = append(bodies, ddlExamples()...)
	bodies = append(bodies, backupExamples()...)
	for _, cmd := range bodies {
		cmd.Header = header()
	}
	bodies = append(bodies, auditExamples()...)
	bodies = append(bodies, resultExamples()...)
	bodies = append(bodies, retentionExamples()...)
	bodies = append(bodies, restoreExample())
	bodies = append(bodies, fencedExamples()...)
	bodies = append(bodies, formatExample())
	return bodies
}

func responses() map[string]*commandv1.Response {
	return map[string]*commandv1.Response{
		"response": {Index: 9, Affected: 3, Message: "done", ObjectId: 4},
		"refusal":  {Index: 9, Failure: &commandv1.Failure{Kind: uint32(fault.DuplicateKey), Message: "Primary key violation"}},
		"reply":    {Index: 9, Affected: 1, Reply: []byte{1, 2}},
	}
}

// TestGolden pins the bytes of every command. They are in logs on disks: a difference is a broken decoder.
func TestGolden(t *testing.T) {
	t.Parallel()
	var list strings.Builder
	for _, cmd := range examples() {
		data, err := Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&list, "%s\n%x\n", strings.TrimPrefix(fmt.Sprintf("%T", cmd.GetBody()), "*commandv1.Command_"), data)
	}
	for _, name := range []string{"response", "refusal", "reply"} {
		data, err := EncodeResponse(responses()[name])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&list, "%s\n%x\n", name, data)
	}
	const path = "testdata/golden.txt"
	if *rewrite {
		if err := os.WriteFile(path, []byte(list.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), list.String()); diff != "" {
		t.Errorf("format changed (-want +got):\n%s", diff)
	}
	lines := strings.Fields(string(want))
	for i, cmd := range examples() {
		data, err := hex.DecodeString(lines[2*i+1])
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := Decode(data)
		if err != nil {
			t.Fatalf("%s: %v", lines[2*i], err)
		}
		if !proto.Equal(decoded, cmd) {
			t.Errorf("%s decodes to %v, want %v", lines[2*i], decoded, cmd)
		}
	}
}

func TestEveryCommandHasAnExample(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, cmd := range examples() {
		m := cmd.ProtoReflect()
		oneof := m.Descriptor().Oneofs().ByName("body")
		seen[string(m.WhichOneof(oneof).Name())] = true
	}
	fields := (&commandv1.Command{}).ProtoReflect().Descriptor().Oneofs().ByName("body").Fields()
	for i := range fields.Len() {
		if name := string(fields.Get(i).Name()); !seen[name] {
			t.Errorf("command %s has no golden bytes", name)
		}
	}
}

func TestEncodeRefusesWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	rows := func(n, size int) *commandv1.Command {
		body := &commandv1.WriteRows{}
		for range n {
			body.Rows = append(body.Rows, &commandv1.RowWrite{TableId: 1, Row: make([]byte, size)})
		}
		return &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: body}}
	}
	for name, cmd := range map[string]*commandv1.Command{
		"too many bytes": rows(1, MaxBytes),
		"too many rows":  rows(MaxRows+1, 0),
	} {
		if _, err := Encode(cmd); fault.KindOf(err) != fault.LimitExceeded {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Encode(&commandv1.Command{Header: header()}); err == nil {
		t.Error("encoded a command without a body")
	}
	data, err := Encode(rows(MaxRows, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(data); err != nil {
		t.Errorf("the largest command does not decode: %v", err)
	}
}

func TestFailure(t *testing.T) {
	t.Parallel()
	if err := Failure(responses()["response"]); err != nil {
		t.Errorf("a response without a failure gives %v", err)
	}
	err := Failure(Refuse(fault.Conflict, "row %d", 100))
	if fault.KindOf(err) != fault.Conflict || err.Error() != "row 100" {
		t.Errorf("refusal gives %v of kind %v", err, fault.KindOf(err))
	}
	percent := Failure(Refuse(fault.NotFound, "%s", "100% gone"))
	if percent.Error() != "100% gone" {
		t.Errorf("message %q", percent.Error())
	}
	unknown := Failure(&commandv1.Response{Failure: &commandv1.Failure{Kind: 1 << 20, Message: "x"}})
	if fault.KindOf(unknown) != fault.Internal {
		t.Errorf("unknown kind gives %v", fault.KindOf(unknown))
	}
}

func TestSeq(t *testing.T) {
	t.Parallel()
	last := uint64(0)
	for _, index := range []uint64{1, 2, 1 << 40} {
		for _, ordinal := range []int{0, 1, MaxOrdinal} {
			seq := Seq(index, ordinal)
			if seq <= last || SeqIndex(seq) != index {
				t.Errorf("seq of (%d, %d) = %d after %d, index %d", index, ordinal, seq, last, SeqIndex(seq))
			}
			last = seq
		}
	}
}

func TestNewRequestID(t *testing.T) {
	t.Parallel()
	early := NewRequestID(1_700_000_000_000_000, [10]byte{0xff})
	late := NewRequestID(1_700_000_000_000_016, [10]byte{0x01})
	if bytes.Compare(early[:], late[:]) >= 0 {
		t.Errorf("%s does not sort before %s", early, late)
	}
	if again := NewRequestID(1_700_000_000_000_000, [10]byte{0xfe}); again == early {
		t.Error("the random part is not used")
	}
	cmd := &commandv1.Command{Header: &commandv1.Header{RequestId: early[:]}}
	if RequestID(cmd) != early || !RequestID(&commandv1.Command{}).IsZero() {
		t.Error("the request id does not come back")
	}
}
