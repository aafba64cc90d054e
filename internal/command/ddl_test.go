package command

import (
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// ddlExamples has every command about changes of tables and their indexes once, and a write that keeps an index.
func ddlExamples() []*commandv1.Command {
	column := &commandv1.Column{
		Id: 4, Name: "level", Type: &commandv1.Type{Kind: 4}, Nullable: true, DefaultKind: 1, DefaultLiteral: []byte{1, 2},
		AddedIn: 3, Initial: []byte{1, 3}, Formerly: []*commandv1.Type{{Kind: 2}, {Kind: 3}}, Proof: 2,
	}
	table := &commandv1.Table{
		Id: 17, Namespace: "app", Name: "notes", Kind: 1, Access: 1, Columns: []*commandv1.Column{column}, Version: 3, Group: 200,
		NextColumnId: 5, Options: map[string]string{"TTL": "60"}, CreatedMicros: 1, UpdatedMicros: 2, NextIndexId: 3, Revision: 9,
		Indexes: []*commandv1.Index{{Id: 2, Name: "by_level", ColumnIds: []uint32{4, 1}, Unique: true, State: 1}},
	}
	entry := &commandv1.IndexEntry{IndexId: 2, Key: []byte{0x80, 7}, Unique: true, Text: "(level) = (7)"}
	view := &commandv1.View{
		Namespace: "app", Name: "open_notes", Query: "SELECT id FROM notes", Within: "app", Version: 2, CreatedMicros: 1, UpdatedMicros: 2, Restricted: true,
		Columns: []*commandv1.Column{{Id: 1, Name: "ids", Type: &commandv1.Type{Kind: 18, Elem: 4}, Nullable: true}},
		Uses:    []*commandv1.ObjectName{{Namespace: "app", Name: "notes"}},
	}
	segment := &commandv1.Segment{
		Number: 5, StorageId: "local", Path: "app/notes/alice/batch-5.parquet", SizeBytes: 1000, Sha256: []byte{1, 2}, Rows: 10,
		Deletions: 1, MinKey: []byte{0x80, 1}, MaxKey: []byte{0x80, 9}, MinSeq: 65_536, MaxSeq: 131_072, SchemaVersion: 3,
		CreatedMicros: 4, Added: 5, Columns: []*commandv1.SegmentColumn{{Id: 4, Min: []byte{1}, Max: []byte{2}, Nulls: 3}},
	}
	return []*commandv1.Command{
		{Body: &commandv1.Command_AlterTable{AlterTable: &commandv1.AlterTable{Table: table, ExpectRevision: 8, Message: "done"}}},
		{Body: &commandv1.Command_AlterNamespace{AlterNamespace: &commandv1.AlterNamespace{
			Name: "app", Options: map[string]string{"b": "2", "a": "1"},
		}}},
		{Body: &commandv1.Command_FenceTable{FenceTable: &commandv1.FenceTable{TableId: 17, Revision: 9}}},
		{Body: &commandv1.Command_RetainChanges{RetainChanges: &commandv1.RetainChanges{Entries: 9, Bytes: 1 << 20, AgeMicros: 3_600_000_000}}},
		{Body: &commandv1.Command_IndexRows{IndexRows: &commandv1.IndexRows{TableId: 17, Rows: []*commandv1.IndexRow{
			{User: "alice", PrimaryKey: []byte{0x80, 1}, ExpectSeq: 65_536, Entry: entry},
		}}}},
		{Body: &commandv1.Command_CreateView{CreateView: &commandv1.CreateView{View: view, IfNotExists: true, OrReplace: true}}},
		{Body: &commandv1.Command_DropView{DropView: &commandv1.DropView{Namespace: "app", Name: "open_notes", IfExists: true, Cascade: true}}},
		{Body: &commandv1.Command_DropTable{DropTable: &commandv1.DropTable{Namespace: "app", Name: "notes", Cascade: true}}},
		{Body: &commandv1.Command_DropNamespace{DropNamespace: &commandv1.DropNamespace{Name: "app", Cascade: true}}},
		{Body: &commandv1.Command_CommitSegment{CommitSegment: &commandv1.CommitSegment{
			TableId: 17, User: "alice", Revision: 9, ExpectVersion: 3, UptoIndex: 70_000, Segment: segment,
		}}},
		{Body: &commandv1.Command_ReplaceSegments{ReplaceSegments: &commandv1.ReplaceSegments{
			TableId: 17, User: "alice", Revision: 9, ExpectVersion: 4, Numbers: []uint64{1, 2}, Segments: []*commandv1.Segment{segment},
		}}},
		{Body: &commandv1.Command_IndexRows{IndexRows: &commandv1.IndexRows{TableId: 17, Rows: []*commandv1.IndexRow{
			{User: "alice", PrimaryKey: []byte{0x80, 1}, ExpectSeq: 65_536, Entry: entry, Cold: true},
		}}}},
		{Body: &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{
			Cold: []*commandv1.ColdRead{{TableId: 17, User: "alice", Version: 4, Index: 70_001}},
			Rows: []*commandv1.RowWrite{{
				TableId: 17, User: "alice", PrimaryKey: []byte{0x80, 1}, Row: []byte{1, 2, 3}, Expect: commandv1.Expect_EXPECT_SEQ,
				ExpectSeq: 65_536, ColdSeq: 65_536, ColdRow: []byte{1, 2, 2},
			}},
		}}},
		{Body: &commandv1.Command_PurgeIndex{PurgeIndex: &commandv1.PurgeIndex{TableId: 17, IndexId: 2}}},
		{Body: &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{
			Revisions: []*commandv1.TableRevision{{TableId: 17, Revision: 9}},
			Rows: []*commandv1.RowWrite{{
				TableId: 17, User: "alice", PrimaryKey: []byte{0x80, 1}, Row: []byte{1, 2, 3}, Expect: commandv1.Expect_EXPECT_SEQ,
				ExpectSeq: 65_536, Unindex: []*commandv1.IndexEntry{entry}, Index: []*commandv1.IndexEntry{entry},
			}},
		}}},
	}
}
