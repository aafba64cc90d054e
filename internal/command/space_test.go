package command_test

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/command"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestWhatFreesSpace says what a node with a nearly full disk still takes.
func TestWhatFreesSpace(t *testing.T) {
	t.Parallel()
	write := func(deleted ...bool) *commandv1.Command {
		body := &commandv1.WriteRows{}
		for _, d := range deleted {
			body.Rows = append(body.Rows, &commandv1.RowWrite{TableId: 1, PrimaryKey: []byte{1}, Row: []byte{1}, Deleted: d})
		}
		return &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: body}}
	}
	for name, test := range map[string]struct {
		cmd  *commandv1.Command
		want bool
	}{
		"deletions":               {write(true, true), true},
		"a deletion and a change": {write(true, false), false},
		"a dropped table":         {&commandv1.Command{Body: &commandv1.Command_DropTable{DropTable: &commandv1.DropTable{}}}, true},
		"a purge":                 {&commandv1.Command{Body: &commandv1.Command_PurgeTable{PurgeTable: &commandv1.PurgeTable{}}}, true},
		"a new member":            {&commandv1.Command{Body: &commandv1.Command_AddMember{AddMember: &commandv1.AddMember{}}}, true},
		"a login":                 {&commandv1.Command{Body: &commandv1.Command_RecordLogin{RecordLogin: &commandv1.RecordLogin{}}}, true},
		"a new table":             {&commandv1.Command{Body: &commandv1.Command_CreateTable{CreateTable: &commandv1.CreateTable{}}}, false},
		"entries of an index":     {&commandv1.Command{Body: &commandv1.Command_IndexRows{IndexRows: &commandv1.IndexRows{}}}, false},
		"a purge of an index":     {&commandv1.Command{Body: &commandv1.Command_PurgeIndex{PurgeIndex: &commandv1.PurgeIndex{}}}, true},
		"a new job":               {&commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{}}}, false},
	} {
		test.cmd.Header = &commandv1.Header{RequestId: make([]byte, 16)}
		data, err := command.Encode(test.cmd)
		if err != nil {
			t.Fatal(err)
		}
		if got := command.FreesSpace(data); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	if command.FreesSpace([]byte("not a command")) {
		t.Error("bytes that are no command are taken")
	}
}
