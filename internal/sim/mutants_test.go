package sim

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// mutants are bugs that a replicated database can have. Every one of them must be seen.
func mutants() []mutant {
	return append([]mutant{
		{name: "the log is not synced", tag: "skip_fsync", seed: 10000, onFS: deafSync(logDir, false)},
		{name: "the directory of the log is not synced", tag: "skip_directory_fsync", seed: 10000, onFS: deafSync(logDir, true)},
		{name: "the store is not synced", tag: "skip_store_fsync", seed: 10000, onFS: deafSync(storeDir, false)},
		{name: "errors of the disk are ignored", tag: "ignore_disk_errors", seed: 10000, onFS: deafErrors},
		{name: "a failed sync is tried again", tag: "retry_failed_fsync", seed: 10000, onFS: syncsAgain},
		{name: "the vote is not saved", tag: "drop_vote", seed: 13000, onOpen: forgetVotes},
		{name: "the term is not saved", tag: "drop_term", seed: 10000, onOpen: forgetTerms},
		{name: "the applied index is saved apart from the rows", tag: "save_applied_index_apart", seed: 10000, onOpen: runAhead},
		{name: "a wiped node keeps its old name", tag: "keep_name_after_wipe", seed: 11000, onWipe: keepName},
		{name: "a snapshot lacks a row", tag: "forget_snapshot_row", seed: 10000, onRestore: forgetKeys(keys.KindRow)},
		{name: "a snapshot lacks a remembered request", tag: "forget_snapshot_request", seed: 10000, onRestore: forgetKeys(keys.KindDedup)},
		{name: "a write is acknowledged before it is committed", tag: "acknowledge_before_commit", seed: 10000, onSubmitted: acknowledgeEarly},
		{name: "a retry has a new request id", tag: "retry_without_request_id", seed: 13000, onPropose: newRequest},
		{name: "requests are not remembered", tag: "forget_requests", seed: 13000, onMachine: anonymous},
		{name: "an unknown outcome counts as not delivered", tag: "forget_unknown_outcome", seed: 12000, onAttempt: forgetAttempt},
		{name: "reads do not wait", tag: "skip_barrier", seed: 10000, onBarrier: func(*session, shard.GroupID) bool { return true }},
		{name: "a replica that believes to lead reads at once", tag: "serve_stale_read", seed: 12000, onBarrier: believeToLead},
		{name: "data does not wait for meta", tag: "skip_meta_wait", seed: 10000, onMachine: impatient},
		{name: "apply takes the time from the clock", tag: "apply_by_clock", seed: 10000, onMachine: clockwork},
		{name: "an error of apply becomes a success", tag: "swallow_apply_error", seed: 10000, onMachine: swallowing},
		{name: "expectations are not checked", tag: "skip_expectations", seed: 11000, onMachine: careless},
		{name: "a user's rows are in another user's shard", tag: "wrong_shard", seed: 12000, onRoute: astray},
		{name: "a damaged log is cut and used on", tag: "cut_damaged_log", seed: 14000, onDamage: startAnew},
		{name: "a claim that was lost ends the job", tag: "ignore_fencing_token", seed: 10002, onMachine: unfenced},
		{name: "a snapshot lacks a change", tag: "forget_snapshot_change", seed: 10000, onRestore: forgetKeys(keys.KindChange)},
		{name: "the changes of a command are told one by one", tag: "tear_changes_apart", seed: 11000, onDeliver: tearApart},
		{name: "live queries are not told of a change", tag: "lose_live_change", seed: 13000, onPublisher: lossyFeed},
		{name: "a user is told of another's rows", tag: "tell_other_user", seed: 12000, onPublisher: tellOthers},
		{name: "a live query begins without a barrier", tag: "skip_live_barrier", seed: 14000, onLive: func(*session) bool { return true }},
		{name: "mode all answers when a quorum has it", tag: "answer_all_at_quorum", seed: 11000, early: true},
		{name: "a transaction is half applied", tag: "half_apply_transaction", seed: 10000, onMachine: halfHearted},
		{name: "an index is not maintained", tag: "skip_index", seed: 12000, onMachine: indexless},
		{name: "an iterator stays open", tag: "leak_iterator", seed: 10000, onRead: forgetIterator},
		{name: "a view of the store stays open", tag: "leak_view", seed: 10000, onRead: forgetView},
		{name: "a file stays open", tag: "leak_file", seed: 10000, onFS: forgetFiles},
		{name: "a goroutine does not end", tag: "leak_goroutine", seed: 10000, onOpen: forgetGoroutine},
		{name: "a transaction stays open", tag: "leak_transaction", seed: 10000, onSQL: forgetCommit},
		{name: "a proposal without an answer is never given up", tag: "leak_proposal", seed: 11003, onMachine: answerless, unforgetful: true},
		{name: "only the first request of an entry is remembered", tag: "remember_first_request", seed: 10002, onMachine: shortOfMemory},
		{name: "proposals of one entry get each other's results", tag: "swap_packed_results", seed: 11000, onMachine: mixingUp},
		{name: "an entry is applied up to what waits for meta", tag: "tear_entry_at_meta", seed: 12002, onMachine: impatientWithin},
	}, append(coldMutants(), localMutants()...)...)
}

func forgetVotes(n *simNode) error {
	return rewriteHardState(n, func(hard *raftlog.HardState) { hard.Vote = 0 })
}

func forgetTerms(n *simNode) error {
	return rewriteHardState(n, func(hard *raftlog.HardState) { hard.Term, hard.Vote = max(hard.Term, 2)-1, 0 })
}

// rewriteHardState makes the log anew, with another hard state: raftlog itself refuses to forget a vote.
func rewriteHardState(n *simNode, change func(*raftlog.HardState)) error {
	var updates []raftlog.Update
	for _, g := range append(slices.Clone(n.w.groups), shard.Local) {
		log := n.log.Group(g)
		hard, marker := log.HardState(), log.Marker()
		if hard.Term == 0 {
			continue
		}
		if g != shard.Local {
			change(&hard)
		}
		update := raftlog.Update{Group: g, Hard: &hard, Reset: &marker}
		if log.LastIndex() >= log.FirstIndex() {
			entries, err := log.Entries(log.FirstIndex(), log.LastIndex()+1, math.MaxUint64)
			if err != nil {
				return err
			}
			update.Entries = entries
		}
		updates = append(updates, update)
	}
	if err := n.log.Close(); err != nil {
		return err
	}
	if err := n.disk.base.RemoveAll(logDir); err != nil {
		return err
	}
	var err error
	if n.log, err = n.openLog(n.disk.fs()); err != nil {
		return err
	}
	return n.log.Append(updates, true)
}

// runAhead sets the applied index of every group to what the log says is committed, without the rows.
func runAhead(n *simNode) error {
	batch := n.store.NewBatch()
	defer func() { _ = batch.Close() }()
	for _, g := range n.w.groups {
		raw, ok, err := n.store.Get(keys.Applied(g))
		if err != nil || !ok {
			continue
		}
		var state raftpb.SnapshotMetadata
		if err = proto.Unmarshal(raw[1:], &state); err != nil {
			return err
		}
		log := n.log.Group(g)
		commit := min(log.HardState().Commit, log.LastIndex())
		if commit <= state.GetIndex() {
			continue
		}
		term, err := log.Term(commit)
		if err != nil {
			return err
		}
		state.Index, state.Term = new(commit), new(term)
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(&state)
		if err != nil {
			return err
		}
		if err := batch.Set(keys.Applied(g), append([]byte{raw[0]}, body...)); err != nil {
			return err
		}
	}
	return n.store.Commit(batch)
}

func keepName(n *simNode) whoami {
	old := n.self
	for i := range old.Store {
		old.Store[i] = byte(n.w.rng.Uint32())
	}
	raw := n.self
	n.self = old
	if err := n.saveIdentity(); err != nil {
		n.w.fail("save the identity of node %d: %v", n.id, err)
	}
	n.self = raw
	return old
}

// forgetKeys drops the first key of a kind whenever a snapshot was installed.
func forgetKeys(kind keys.Kind) func(*machine, storage.Reader) error {
	return func(m *machine, _ storage.Reader) error {
		if m.restored == 1 {
			return nil
		}
		lo, hi := keys.GroupSpan(m.group)
		it, err := m.n.store.Scan(append(slices.Clone(lo), byte(kind)), hi)
		if err != nil {
			return err
		}
		var key []byte
		if it.First() && it.Key()[len(lo)] == byte(kind) {
			key = slices.Clone(it.Key())
		}
		if err := it.Close(); err != nil || key == nil {
			return err
		}
		batch := m.n.store.NewBatch()
		defer func() { _ = batch.Close() }()
		if err := batch.Delete(key); err != nil {
			return err
		}
		return m.n.store.Commit(batch)
	}
}

// startAnew throws a damaged log away and goes on under the old name.
func startAnew(n *simNode) {
	n.flipped = false
	if err := n.disk.base.RemoveAll(logDir); err != nil {
		n.w.fail("remove the log of node %d: %v", n.id, err)
	}
}

func acknowledgeEarly(n *simNode, group shard.GroupID) (executor.Attempt, bool) {
	index := n.manager.Glance(group).LastIndex + 1
	raw, err := command.EncodeResponse(&commandv1.Response{Index: index, Affected: 1})
	if err != nil {
		n.w.fail("encode a response: %v", err)
	}
	return executor.Attempt{Outcome: executor.Done, Result: raw, Index: index}, true
}

// newRequest gives every attempt after one with an unknown outcome an id of its own.
func newRequest(s *session, id ident.RequestID, data []byte) (ident.RequestID, []byte) {
	if s.unknowns == 0 {
		return id, data
	}
	fresh := id
	fresh[15] ^= byte(s.unknowns)
	return fresh, rewrite(data, func(cmd *commandv1.Command) { cmd.Header.RequestId = fresh[:] })
}

func rewrite(data []byte, change func(*commandv1.Command)) []byte {
	cmd, err := command.Decode(data)
	if err != nil {
		panic(err)
	}
	change(cmd)
	if data, err = command.Encode(cmd); err != nil {
		panic(err)
	}
	return data
}

func forgetAttempt(a executor.Attempt) executor.Attempt {
	if a.Outcome == executor.Unknown {
		a.Outcome = executor.Unreachable
	}
	return a
}

func believeToLead(s *session, group shard.GroupID) bool {
	return s.n.manager.Leader(group) == s.n.self.Replica
}

// mostSeeds is how many seeds a mutant may survive.
const mostSeeds = 100

// seedsToCatch returns how many seeds it takes from a first one on to see a mutant, and how it shows.
func seedsToCatch(t *testing.T, m *mutant, first uint64) (int, error) {
	t.Helper()
	for n := range mostSeeds {
		if _, err := simulate(t, first+uint64(n), m); err != nil {
			return n + 1, err
		}
	}
	return mostSeeds + 1, nil
}

// TestMutantsAreCaught plants one bug after another and wants each to be seen, from a seed on that has betrayed it before.
// MUTANTS=n plants them in n stretches of seeds that nobody has chosen and prints the median number that was needed; MUTANT=word
// plants those alone whose name has the word.
func TestMutantsAreCaught(t *testing.T) {
	trials, only := int(envNumber(t, "MUTANTS", 0)), os.Getenv("MUTANT")
	planted, caught := 0, 0
	for _, m := range mutants() {
		if !strings.Contains(m.name, only) {
			continue
		}
		starts := []uint64{m.seed}
		if trials > 0 || m.seed == 0 {
			starts = starts[:0]
			for trial := range max(1, trials) {
				starts = append(starts, uint64(10_000+1000*trial))
			}
		}
		planted++
		if tryMutant(t, &m, starts) {
			caught++
		}
	}
	_, _ = fmt.Fprintf(os.Stdout, "%d of %d planted bugs were seen\n", caught, planted)
}

// tryMutant plants one bug in stretches of seeds, prints what it took, and reports whether each stretch has betrayed it.
func tryMutant(t *testing.T, m *mutant, starts []uint64) bool {
	t.Helper()
	var needed []int
	var how string
	soonest, seed := mostSeeds+1, uint64(0)
	for _, first := range starts {
		n, err := seedsToCatch(t, m, first)
		needed = append(needed, n)
		if n > mostSeeds {
			t.Errorf("%s: not seen by %d seeds from %d on", m.name, mostSeeds, first)
			continue
		}
		if n < soonest {
			soonest, seed = n, first+uint64(n)-1
			how, _, _ = strings.Cut(err.Error(), "\n")
		}
	}
	slices.Sort(needed)
	_, _ = fmt.Fprintf(os.Stdout, "%-55s median %2d seeds, most %2d; seed %d: %s\n", m.name, needed[len(needed)/2], needed[len(needed)-1], seed, how)
	return needed[len(needed)-1] <= mostSeeds
}

var _ multiraft.StateMachine = (*bent)(nil)
