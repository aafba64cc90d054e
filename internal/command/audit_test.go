package command

import (
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// auditExamples has every command about storages once, with notes for the audit log, and what tables say of
// storages.
func auditExamples() []*commandv1.Command {
	storage := &commandv1.Storage{
		Id: "archive", Name: "n", Description: "d", Type: "filesystem", BaseDirectory: "/srv", Credentials: "{}", Config: "{}",
		SharedTablesTemplate: "s", UserTablesTemplate: "u", CreatedMicros: 1, UpdatedMicros: 2,
	}
	examples := []*commandv1.Command{
		{Body: &commandv1.Command_CreateStorage{CreateStorage: &commandv1.CreateStorage{Storage: storage, IfNotExists: true}}},
		{Body: &commandv1.Command_AlterStorage{AlterStorage: &commandv1.AlterStorage{
			Id: "archive", Name: new("n"), Description: new("d"), BaseDirectory: new("/srv"), Credentials: new("{}"), Config: new("{}"),
			SharedTablesTemplate: new("s"), UserTablesTemplate: new("u"),
		}}},
		{Body: &commandv1.Command_DropStorage{DropStorage: &commandv1.DropStorage{Id: "archive", IfExists: true}}},
		{Body: &commandv1.Command_RecordAudit{RecordAudit: &commandv1.RecordAudit{}}},
		{Body: &commandv1.Command_CreateTable{CreateTable: &commandv1.CreateTable{
			Table: &commandv1.Table{Namespace: "app", Name: "notes", Kind: 2}, CheckStorage: true,
		}}},
	}
	for _, cmd := range examples {
		cmd.Header = header()
		cmd.Header.Audit = &commandv1.AuditNote{
			Action: "CREATE_STORAGE", Target: "archive", Details: "{}", IpAddress: "127.0.0.1", Subject: "alice", Keep: 1000,
		}
	}
	return examples
}
