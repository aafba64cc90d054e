package sim

import (
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// coldMutants are bugs that a cold tier can have.
func coldMutants() []mutant {
	return []mutant{
		{name: "a segment is named before a majority has it", tag: "name_segment_early", seed: 11002, noKeep: true},
		{name: "a segment is not synced", tag: "skip_segment_fsync", seed: 11002, onFS: deafSync(coldDir, false)},
		{name: "the directory of a segment is not synced", tag: "skip_segment_directory_fsync", seed: 11002, onFS: deafSync(coldDir, true)},
		{name: "segments that a node misses are not fetched", tag: "skip_segment_fetch", seed: 11000, noTend: true},
		{name: "files that nobody names have no grace", tag: "sweep_without_grace", seed: 10002, graceless: true},
		{name: "a flush removes rows that it has not read", tag: "flush_unread_rows", seed: 10008, onCold: greedyFlush},
		{name: "a merge drops live versions", tag: "merge_loses_rows", seed: 10010, onCold: lossyMerge},
		{name: "a cleanup leaves the rows of a dropped table", tag: "leave_dropped_rows", seed: 10000, onCold: idleCleanup},
		{name: "a restore leaves out a row", tag: "restore_loses_row", seed: 11002, onCold: lossyRestore},
	}
}

// greedyFlush claims to have read more of the group than it has.
func greedyFlush(cmd *commandv1.Command) {
	if body := cmd.GetCommitSegment(); body != nil {
		body.UptoIndex += 100
	}
}

// lossyMerge forgets the last file that it wrote.
func lossyMerge(cmd *commandv1.Command) {
	if body := cmd.GetReplaceSegments(); len(body.GetSegments()) > 0 {
		body.Segments = body.Segments[:len(body.Segments)-1]
	}
}

// idleCleanup removes the rows of a table that nobody has.
func idleCleanup(cmd *commandv1.Command) {
	if body := cmd.GetPurgeTable(); body != nil {
		body.TableId += 1 << 20
	}
}

// lossyRestore forgets the last of some rows.
func lossyRestore(cmd *commandv1.Command) {
	if body := cmd.GetWriteRows(); body.GetRestoreToken() > 0 && len(body.GetRows()) > 1 {
		body.Rows = body.Rows[:len(body.Rows)-1]
	}
}
