package sim

import (
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// coldMutants are bugs that a cold tier can have.
func coldMutants() []mutant {
	return []mutant{
		{name: "a segment is named before a majority has it", tag: "name_segment_early", seed: 10000, noKeep: true},
		{name: "a segment is not synced", tag: "skip_segment_fsync", seed: 10000, onFS: deafSync(coldDir, false)},
		{name: "the directory of a segment is not synced", tag: "skip_segment_directory_fsync", seed: 10000, onFS: deafSync(coldDir, true)},
		{name: "segments that a node misses are not fetched", tag: "skip_segment_fetch", seed: 10000, noTend: true},
		{name: "files that nobody names have no grace", tag: "sweep_without_grace", seed: 13000, graceless: true},
		{name: "a flush removes rows that it has not read", tag: "flush_unread_rows", seed: 10000, onCold: greedyFlush},
		{name: "a merge drops live versions", tag: "merge_loses_rows", seed: 10006, onCold: lossyMerge},
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
