package command

import commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"

// FreesSpace reports whether an encoded command makes room in the end, or is needed so that the cluster goes on: what a
// node with a nearly full disk still takes. Deletions are, and so are members, logins and the course of jobs; what adds
// rows, entries of an index, objects, accounts or jobs is not.
func FreesSpace(data []byte) bool {
	cmd, err := Decode(data)
	if err != nil {
		return false
	}
	switch body := cmd.GetBody().(type) {
	case *commandv1.Command_CreateNamespace, *commandv1.Command_CreateTable, *commandv1.Command_CreateUser,
		*commandv1.Command_CreateJob, *commandv1.Command_CreateSchedule, *commandv1.Command_FireSchedule,
		*commandv1.Command_CreateStorage, *commandv1.Command_CreateView, *commandv1.Command_IndexRows,
		*commandv1.Command_RestoreCatalog:
		return false
	case *commandv1.Command_WriteRows:
		for _, row := range body.WriteRows.GetRows() {
			if !row.GetDeleted() {
				return false
			}
		}
		return true
	}
	return true
}
