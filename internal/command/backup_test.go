package command

import commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"

// backupExamples has every command about backups, about the end of accounts, and about the format of the logs once.
func backupExamples() []*commandv1.Command {
	return []*commandv1.Command{
		{Body: &commandv1.Command_RestoreCatalog{RestoreCatalog: &commandv1.RestoreCatalog{
			Backup: "uid/20260102T030405.000000Z", Finish: true, LastTableId: 70,
			Records: []*commandv1.CatalogRecord{{Key: []byte{0x67, 1}, Value: []byte{1, 2}}, {Key: []byte{0x67, 2}}},
		}}},
		{Body: &commandv1.Command_RecordBackup{RecordBackup: &commandv1.RecordBackup{Backup: &commandv1.Backup{
			Name: "20260102T030405.000000Z", Location: "archive/nightly", Job: 3, StartedMicros: 4, FinishedMicros: 5, Rows: 6,
			TotalBytes: 7, WrittenBytes: 8, NodeId: 9,
		}}}},
		{Body: &commandv1.Command_ForgetUser{ForgetUser: &commandv1.ForgetUser{Id: "alice", DeletedMicros: 5}}},
		{Body: &commandv1.Command_PurgeUser{PurgeUser: &commandv1.PurgeUser{
			User: "alice", Tables: []*commandv1.UserTable{{TableId: 17, IndexIds: []uint32{1, 2}}, {TableId: 18}},
		}}},
		{Body: &commandv1.Command_DropUser{DropUser: &commandv1.DropUser{Id: "alice", Cleanup: true, CleanupDelayMicros: 60}}},
		{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{Job: &commandv1.Job{
			Type: "stream_eviction", IdPrefix: "SE", Transient: true,
		}}}},
		{Body: &commandv1.Command_RaiseLogFormat{RaiseLogFormat: &commandv1.RaiseLogFormat{LogFormat: 2, LastReplica: 3}}},
		{Body: &commandv1.Command_AddMember{AddMember: &commandv1.AddMember{
			Member: &commandv1.Member{NodeId: 4, StoreId: make([]byte, 16), RpcAddr: "n4:1"}, LogFormat: 2,
		}}},
		{Body: &commandv1.Command_ChangeVotes{ChangeVotes: &commandv1.ChangeVotes{ReplicaId: 3, Groups: []uint64{10, 200}, Votes: true, ClusterUid: make([]byte, 16)}}},
		{Body: &commandv1.Command_AddMember{AddMember: &commandv1.AddMember{
			Member: &commandv1.Member{NodeId: 5, StoreId: make([]byte, 16), RpcAddr: "n5:1"}, LogFormat: 7, VotesIn: []uint64{10}, ClusterUid: make([]byte, 16),
		}}},
		{Body: &commandv1.Command_RotateToken{RotateToken: &commandv1.RotateToken{
			UserId: "alice", Family: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Serial: 2, ExpiresMicros: 3, GraceMicros: 4,
		}}},
	}
}

// fencedExamples has what a run of a job that lost it may send.
func fencedExamples() []*commandv1.Command {
	return []*commandv1.Command{{Header: header(), Body: &commandv1.Command_RecordBackup{RecordBackup: &commandv1.RecordBackup{
		Backup: &commandv1.Backup{Name: "20260102T030405.000000Z", Location: "archive", Job: 3}, Token: 5,
	}}}, {Header: header(), Body: &commandv1.Command_PurgeUser{PurgeUser: &commandv1.PurgeUser{
		User: "alice", Tables: []*commandv1.UserTable{{TableId: 17}}, UptoIndex: 99,
	}}}}
}

// formatExample is a command of which what it leaves behind depends on the format of the logs.
func formatExample() *commandv1.Command {
	named := header()
	named.LogFormat = ScopeFormat
	return &commandv1.Command{Header: named, Body: &commandv1.Command_PurgeDeleted{PurgeDeleted: &commandv1.PurgeDeleted{
		TableId: 17, Scopes: []*commandv1.DeletedScope{{User: "alice", Rows: []*commandv1.DeletedRow{{PrimaryKey: []byte{1}, Seq: 99}}}},
	}}}
}
