package sim

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// This file counts what really happens in runs: each kind of fault, when it has struck and not when it was drawn, and each rule,
// when there was something to hold it against. A fault that no run draws any more, or a rule that nothing is held against, would
// otherwise look as if it held.

// evidence is one thing that runs must have shown.
type evidence uint8

// Faults.
const (
	frameLost evidence = iota
	frameDelayed
	frameDoubled
	frameReordered
	frameGarbled
	callLost
	cutOneWay
	cutTwoWay
	powerCut
	powerAtLogSync
	powerAtLogDirectory
	powerAtLogWrite
	powerAtSegmentSync
	powerInSnapshot
	powerInFlush
	writeTorn
	processRestarted
	processPaused
	nodeSlow
	diskLost
	diskSlow
	diskHung
	storeHung
	storeCedes
	diskFull
	diskNearlyFull
	writeFailed
	syncFailed
	readFailed
	bitInRunningLog
	bitInStoppedLog
	bitInStore
	bitInSegment
	damageFound
	segmentMended
	clockForward
	clockBack
	memberAdded
	memberRemoved
	memberReplaced
	leadershipMoved
	nodeDrained
	votesTaken
	votesGiven
	memberOfSome
	observerWiped
	snapshotInstalled
	snapshotResumed
	logTruncated
	bucketDown
	coldTableDropped
	restoreGoneOn
	// Rules.
	ruleAcknowledged
	ruleOneLeader
	ruleOneVote
	ruleCommitted
	ruleResults
	ruleApplied
	ruleRemembers
	ruleDigest
	ruleRepeats
	ruleCounters
	ruleRefused
	ruleReads
	ruleMoney
	ruleIsolation
	ruleModeAll
	ruleFollowers
	ruleLiveRows
	ruleLiveChanges
	ruleLiveResumed
	ruleLiveTooOld
	ruleLiveFull
	ruleMeta
	ruleNewTable
	ruleIndexes
	ruleJobs
	ruleSegments
	ruleColdRows
	ruleBackups
	ruleRestored
	ruleGone
	ruleLeaks
	ruleLocal
	ruleLocalCursor
	ruleObservers
	everything
)

var evidenceNames = [everything]string{
	frameLost: "a frame is dropped", frameDelayed: "a frame is delayed", frameDoubled: "a frame is duplicated",
	frameReordered: "a frame overtakes others", frameGarbled: "a bit of a frame flips", callLost: "a call is lost on its way there or back",
	cutOneWay: "the network is cut one way", cutTwoWay: "the network is cut both ways",
	powerCut: "the power fails at any moment", powerAtLogSync: "the power fails before a sync of the log",
	powerAtLogDirectory: "the power fails before a sync of the log's directory", powerAtLogWrite: "the power fails before another change of the log",
	powerAtSegmentSync: "the power fails before a change of a segment", powerInSnapshot: "the power fails while a snapshot arrives",
	powerInFlush: "the power fails during a flush of the store", writeTorn: "the last write of the log is torn",
	processRestarted: "a process restarts", processPaused: "a process is paused", nodeSlow: "a node is slow", diskLost: "a disk is wiped",
	diskSlow: "a disk is slow", diskHung: "a disk hangs", storeHung: "a store hangs", storeCedes: "a node whose store hangs leads nothing any more",
	diskFull: "a disk is full", diskNearlyFull: "a disk is nearly full",
	writeFailed: "a change of the log fails", syncFailed: "one sync of the log fails", readFailed: "a read of the log fails",
	bitInRunningLog: "a bit flips in the log of a running node", bitInStoppedLog: "a bit flips in the log of a stopped node",
	bitInStore: "bits flip in the store", bitInSegment: "a bit flips in a segment", damageFound: "a node finds wrong bytes and begins anew",
	segmentMended: "a damaged segment is mended from another node", clockForward: "a clock jumps forward", clockBack: "a clock jumps back",
	memberAdded: "a member is added", memberRemoved: "a member is removed", memberReplaced: "a member is replaced",
	leadershipMoved: "a leadership is transferred", nodeDrained: "a node is drained", votesTaken: "a node's votes in some groups are taken",
	votesGiven: "a node's votes in some groups are given back", memberOfSome: "a member that is added has votes in some groups only",
	observerWiped: "the disk of a node without some votes is wiped", snapshotInstalled: "a snapshot is installed under traffic",
	snapshotResumed: "an interrupted snapshot goes on", logTruncated: "a log is truncated under traffic", bucketDown: "the bucket does not answer",
	coldTableDropped: "a table with cold rows is dropped",
	restoreGoneOn:    "a restore that was ended goes on",

	ruleAcknowledged: "what was acknowledged is there", ruleOneLeader: "one leader of a group in a term",
	ruleOneVote: "one vote of a replica in a term", ruleCommitted: "a committed entry is the same on another replica or in another life",
	ruleResults: "a result is that of a naive reading of the log", ruleApplied: "the applied index grows",
	ruleRemembers: "a replica that starts again has what it confirmed", ruleDigest: "equal applied index, equal digest",
	ruleRepeats: "a repeated request changes nothing", ruleCounters: "a counter is the number of its requests",
	ruleRefused: "what was refused never runs", ruleReads: "a read is not older than what was known before it", ruleMoney: "money stays",
	ruleIsolation: "a private row lies with its user", ruleModeAll: "a write in mode all is everywhere",
	ruleFollowers: "a follower is given each change once", ruleLiveRows: "initial rows of a live query are those of the log",
	ruleLiveChanges: "a live query is given each change once", ruleLiveResumed: "a live query resumes elsewhere",
	ruleLiveTooOld: "a cursor that is too old is refused", ruleLiveFull: "a live client without room is told so",
	ruleMeta: "a data command waits for meta", ruleNewTable: "a new table is known everywhere", ruleIndexes: "an index has the entries of its rows",
	ruleJobs: "a job is done under its newest claim", ruleSegments: "a named segment is on a majority", ruleColdRows: "a cold row is that of the log",
	ruleBackups: "a backup is whole", ruleRestored: "a restored row is that of the backup",
	ruleGone: "nothing is left of a dropped table", ruleLeaks: "nothing is left open",
	ruleLocal: "a node-local row is where it was written, and nowhere else", ruleLocalCursor: "a cursor of another node's own rows is refused",
	ruleObservers: "who has no vote in a group has all of it, and leads nothing there",
}

// ledger counts evidence of one run. Goroutines of the store count, too.
type ledger [everything]atomic.Uint64

// saw counts that something has happened.
func (w *world) saw(e evidence) { w.ledger[e].Add(1) }

// evidenceOf adds up the ledgers of several runs.
type evidenceOf struct {
	times, runs [everything]uint64
}

func (e *evidenceOf) add(l *ledger) {
	for i := range l {
		if n := l[i].Load(); n > 0 {
			e.times[i] += n
			e.runs[i]++
		}
	}
}

// missing names what has never happened.
func (e *evidenceOf) missing() []string {
	var names []string
	for i, n := range e.times {
		if n == 0 {
			names = append(names, evidenceNames[i])
		}
	}
	return names
}

// String lists everything with how often, and in how many runs, it has happened.
func (e *evidenceOf) String() string {
	var text strings.Builder
	for i, name := range evidenceNames {
		_, _ = fmt.Fprintf(&text, "%9d times in %4d runs: %s\n", e.times[i], e.runs[i], name)
	}
	return text.String()
}

// TestEvidenceHasNames wants a name for everything that is counted, and each once.
func TestEvidenceHasNames(t *testing.T) {
	names := slices.Clone(evidenceNames[:])
	slices.Sort(names)
	if len(slices.Compact(names)) != int(everything) || names[0] == "" {
		t.Errorf("some evidence has no name of its own: %q", names)
	}
}

// sawVerdict counts what was done to a frame.
func (w *world) sawVerdict(v *transport.Verdict) {
	switch {
	case v.Drop:
		w.saw(frameLost)
		return
	case v.Overtake:
		w.saw(frameReordered)
	}
	if v.Copies > 0 {
		w.saw(frameDoubled)
	}
	if v.Delay > 0 {
		w.saw(frameDelayed)
	}
}

// sawPower counts before which change of a disk the power has failed.
func (w *world) sawPower(op faultfs.Op) {
	switch {
	case strings.HasPrefix(op.Path, coldDir):
		w.saw(powerAtSegmentSync)
	case op.Kind == faultfs.Sync:
		w.saw(powerAtLogSync)
	case op.Kind == faultfs.SyncDir:
		w.saw(powerAtLogDirectory)
	default:
		w.saw(powerAtLogWrite)
	}
}

// busy reports whether clients work.
func (w *world) busy() bool { return w.load != nil && w.load.busy }
