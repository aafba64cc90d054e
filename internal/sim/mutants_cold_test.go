package sim

import (
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// coldMutants are bugs that a cold tier can have.
func coldMutants() []mutant {
	return []mutant{
		{name: "a segment is named before a majority has it", noKeep: true},
		{name: "a segment is not synced", onFS: deafSync(coldDir, false)},
		{name: "the directory of a segment is not synced", onFS: deafSync(coldDir, true)},
		{name: "segments that a node misses are not fetched", noTend: true},
		{name: "files that nobody names have no grace", graceless: true},
		{name: "a flush removes rows that it has not read", onCold: greedyFlush},
		{name: "a merge drops live versions", onCold: lossyMerge},
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
