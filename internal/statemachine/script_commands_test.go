package statemachine

import (
	"slices"
	"strings"
	"testing"

	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// parseCommand reads the command of a script's entry; names take the place of bare words behind it:
//
//	found uid=N store=N node=N [rpc=… api=…]         add-member store=N node=N [uid=N] …     remove-member replica=N
//	create-namespace name=n [if-not-exists]          drop-namespace name=n [if-exists]
//	create-table ns=n name=t kind=N [if-not-exists]  drop-table ns=n name=t [if-exists]    cleanup-done t=N
//	create-user id=u role=N [if-not-exists]          alter-user id=u [password=p] [role=N]
//	drop-user id=u [if-exists]                       login id=u [success] [lock-after=N lock-for=N]
//	write | put t=N [u=u] k=key v=value [absent | seq=I.O] ; delete t=N u=u k=key ; unchanged t=N u=u at=N
//	purge t=N
//
// Those about jobs are in parseJobCommand.
func parseCommand(t *testing.T, f fields, line string) *commandv1.Command {
	t.Helper()
	word := f.words[slices.IndexFunc(f.words, func(w string) bool { return !strings.Contains(w, "=") })]
	member := &commandv1.Member{NodeId: f.number("node"), StoreId: f.id("store"), RpcAddr: f.text("rpc"), ApiAddr: f.text("api")}
	switch word {
	case "found":
		return &commandv1.Command{Body: &commandv1.Command_Found{Found: &commandv1.Found{
			ClusterUid: f.id("uid"), ClusterId: "local", UserShards: uint32(f.number("users")), SharedShards: 2, Member: member,
		}}}
	case "add-member":
		add := &commandv1.AddMember{Member: member, VotesIn: f.numbers("votes-in")}
		if f.number("uid") != 0 {
			add.ClusterUid = f.id("uid")
		}
		return &commandv1.Command{Body: &commandv1.Command_AddMember{AddMember: add}}
	case "change-votes":
		votes := &commandv1.ChangeVotes{ReplicaId: f.number("replica"), Groups: f.numbers("groups"), Votes: f.flag("votes")}
		if f.number("uid") != 0 {
			votes.ClusterUid = f.id("uid")
		}
		return &commandv1.Command{Body: &commandv1.Command_ChangeVotes{ChangeVotes: votes}}
	case "remove-member":
		return &commandv1.Command{Body: &commandv1.Command_RemoveMember{
			RemoveMember: &commandv1.RemoveMember{ReplicaId: f.number("replica")},
		}}
	case "create-namespace":
		return &commandv1.Command{Body: &commandv1.Command_CreateNamespace{
			CreateNamespace: &commandv1.CreateNamespace{Name: f.text("name"), IfNotExists: f.flag("if-not-exists")},
		}}
	case "drop-namespace":
		return &commandv1.Command{Body: &commandv1.Command_DropNamespace{
			DropNamespace: &commandv1.DropNamespace{Name: f.text("name"), IfExists: f.flag("if-exists")},
		}}
	case "create-table":
		columns := []*commandv1.Column{{Id: 1, Name: "id", Type: &commandv1.Type{Kind: 4}, PrimaryKey: true}}
		return &commandv1.Command{Body: &commandv1.Command_CreateTable{CreateTable: &commandv1.CreateTable{
			Table: &commandv1.Table{
				Id: 999, Group: 999, Version: 999, // assigned during apply, whatever the command says
				Namespace: f.text("ns"), Name: f.text("name"), Kind: uint32(f.number("kind")), Columns: columns,
			},
			IfNotExists: f.flag("if-not-exists"),
		}}}
	case "drop-table":
		return &commandv1.Command{Body: &commandv1.Command_DropTable{DropTable: &commandv1.DropTable{
			Namespace: f.text("ns"), Name: f.text("name"), IfExists: f.flag("if-exists"),
		}}}
	case "cleanup-done":
		return &commandv1.Command{Body: &commandv1.Command_CleanupDone{CleanupDone: &commandv1.CleanupDone{TableId: f.number("t")}}}
	case "purge":
		return &commandv1.Command{Body: &commandv1.Command_PurgeTable{PurgeTable: &commandv1.PurgeTable{TableId: f.number("t")}}}
	case "write":
		return &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: parseWrite(t, line)}}
	}
	return parseUserCommand(t, word, f)
}

func parseUserCommand(t *testing.T, word string, f fields) *commandv1.Command {
	t.Helper()
	switch word {
	case "create-user":
		return &commandv1.Command{Body: &commandv1.Command_CreateUser{CreateUser: &commandv1.CreateUser{
			User:        &commandv1.User{Id: f.text("id"), Role: uint32(f.number("role")), PasswordHash: "hash"},
			IfNotExists: f.flag("if-not-exists"),
		}}}
	case "alter-user":
		body := &commandv1.AlterUser{Id: f.text("id")}
		if password := f.text("password"); password != "" {
			body.PasswordHash = &password
		}
		if f.text("role") != "" {
			body.Role = new(uint32(f.number("role")))
		}
		return &commandv1.Command{Body: &commandv1.Command_AlterUser{AlterUser: body}}
	case "drop-user":
		return &commandv1.Command{Body: &commandv1.Command_DropUser{DropUser: &commandv1.DropUser{
			Id: f.text("id"), IfExists: f.flag("if-exists"),
		}}}
	case "login":
		return &commandv1.Command{Body: &commandv1.Command_RecordLogin{RecordLogin: &commandv1.RecordLogin{
			Id: f.text("id"), Success: f.flag("success"), LockAfter: uint32(f.number("lock-after")),
			LockForMicros: int64(f.number("lock-for")),
		}}}
	}
	return parseJobCommand(t, word, f)
}

func parseWrite(t *testing.T, line string) *commandv1.WriteRows {
	t.Helper()
	body := &commandv1.WriteRows{}
	_, parts, _ := strings.Cut(line, "|")
	for part := range strings.SplitSeq(parts, ";") {
		f := fields{t, strings.Fields(part)}
		if f.flag("unchanged") {
			body.Scopes = append(body.Scopes, &commandv1.ScopeUnchanged{TableId: f.number("t"), User: f.text("u"), Index: f.number("at")})
			continue
		}
		if f.flag("span") {
			body.Spans = append(body.Spans, &commandv1.SpanUnchanged{
				TableId: f.number("t"), User: f.text("u"), Low: []byte(f.text("low")), High: []byte(f.text("high")), Index: f.number("at"),
			})
			continue
		}
		if f.flag("read") {
			read := &commandv1.RowRead{TableId: f.number("t"), User: f.text("u"), PrimaryKey: []byte(f.text("k"))}
			if f.text("seq") != "" {
				read.Seq = f.seq("seq")
			}
			body.Reads = append(body.Reads, read)
			continue
		}
		row := &commandv1.RowWrite{
			TableId: f.number("t"), User: f.text("u"), PrimaryKey: []byte(f.text("k")), Row: []byte(f.text("v")),
			KeyText: f.text("k"), Deleted: f.flag("delete"),
		}
		if f.flag("absent") {
			row.Expect = commandv1.Expect_EXPECT_ABSENT
		}
		if f.text("seq") != "" {
			row.Expect, row.ExpectSeq = commandv1.Expect_EXPECT_SEQ, f.seq("seq")
		}
		if f.flag("unknown-expectation") {
			row.Expect = 9
		}
		body.Rows = append(body.Rows, row)
	}
	return body
}
