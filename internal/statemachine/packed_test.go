package statemachine

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// packed makes the commands of one log entry.
func packed(index uint64, data ...[]byte) []command.Entry {
	entries := make([]command.Entry, len(data))
	for i := range data {
		entries[i] = command.Entry{Index: index, Term: 1, Data: data[i], Position: i, More: i < len(data)-1}
	}
	return entries
}

// write encodes a command that inserts rows, which must not be there.
func write(t *testing.T, request byte, metaIndex uint64, rows ...string) []byte {
	t.Helper()
	body := &commandv1.WriteRows{}
	for _, key := range rows {
		body.Rows = append(body.Rows, &commandv1.RowWrite{
			TableId: 5, PrimaryKey: []byte(key), Row: []byte("row"), Expect: commandv1.Expect_EXPECT_ABSENT,
		})
	}
	return encode(t, &commandv1.Command{
		Header: &commandv1.Header{RequestId: append(make([]byte, 15), request), NowMicros: 1_000_000, MetaIndex: metaIndex},
		Body:   &commandv1.Command_WriteRows{WriteRows: body},
	})
}

// seqs reads the _seq of every row of the group.
func (r *replica) seqs(t *testing.T) map[string]uint64 {
	t.Helper()
	lo, hi := keys.RowSpan(r.group)
	it, err := r.engine.Scan(lo, hi)
	must(t, err)
	found := map[string]uint64{}
	for ok := it.First(); ok; ok = it.Next() {
		row, err := keys.ParseRow(it.Key())
		must(t, err)
		value, err := it.Value()
		must(t, err)
		seq, _, _, err := rowvalue.Decode(value)
		must(t, err)
		found[string(row.PrimaryKey)] = seq
	}
	must(t, it.Close())
	return found
}

// TestPackedCommands applies an entry of several commands: each has its own result, a refused one changes nothing for the
// others, a repeat within the entry is answered and not run, rows are numbered through the entry, and later repeats of
// each command find its own response, also after a restart.
func TestPackedCommands(t *testing.T) {
	t.Parallel()
	r := newReplica(t, shard.SharedShard(0))
	first, refused, second, third := write(t, 1, 0, "a", "b"), write(t, 2, 0, "b"), write(t, 3, 0, "c", "d", "e"), write(t, 4, 0, "f")
	outcome, err := r.apply(packed(7, first, refused, second, first, third))
	must(t, err)
	if len(outcome.Results) != 5 {
		t.Fatalf("%d results, want 5", len(outcome.Results))
	}
	affected := make([]uint32, 5)
	for i, result := range outcome.Results {
		response := decodeResult(t, result)
		affected[i] = response.GetAffected()
		wantRefused := i == 1
		if got := response.GetFailure() != nil; got != wantRefused || response.GetIndex() != 7 {
			t.Errorf("command %d: %v", i, response)
		}
	}
	if diff := cmp.Diff([]uint32{2, 0, 3, 2, 1}, affected); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	want := map[string]uint64{ // the refused command has taken an ordinal
		"a": command.Seq(7, 0), "b": command.Seq(7, 1), "c": command.Seq(7, 3), "d": command.Seq(7, 4), "e": command.Seq(7, 5), "f": command.Seq(7, 6),
	}
	if diff := cmp.Diff(want, r.seqs(t)); diff != "" {
		t.Errorf("_seq (-want +got):\n%s", diff)
	}
	var logged []uint64
	must(t, changelog.Read(r.engine, r.group, 0, nil, func(c changefeed.Change) bool {
		logged = append(logged, c.Seq)
		return true
	}))
	if !slices.IsSorted(logged) || len(slices.Compact(slices.Clone(logged))) != len(want) {
		t.Errorf("the change log holds %x", logged)
	}
	for index, restart := range []bool{false, true} {
		if restart {
			r.restart(t)
		}
		again, err := r.apply(packed(uint64(8+index), third, second, refused, first))
		must(t, err)
		wantResults := [][]byte{outcome.Results[4], outcome.Results[2], outcome.Results[1], outcome.Results[0]}
		if diff := cmp.Diff(wantResults, again.Results); diff != "" {
			t.Errorf("repeats, restarted %v (-want +got):\n%s", restart, diff)
		}
	}
	if diff := cmp.Diff(want, r.seqs(t)); diff != "" {
		t.Errorf("_seq after repeats (-want +got):\n%s", diff)
	}
}

// TestPackedEntryWaitsAsAWhole: one command that waits for the meta group holds the commands before it too.
func TestPackedEntryWaitsAsAWhole(t *testing.T) {
	t.Parallel()
	r := newReplica(t, shard.SharedShard(0))
	r.metaIndex = 3
	log := append(packed(1, write(t, 1, 3, "a")), packed(2, write(t, 2, 0, "b"), write(t, 3, 4, "c"), write(t, 4, 6, "d"))...)
	log = append(log, packed(3, write(t, 5, 0, "e"))...)
	outcome, err := r.apply(log)
	must(t, err)
	if len(outcome.Results) != 1 || outcome.WaitMeta != 6 || r.applied(t) != 1 {
		t.Fatalf("%d results, waiting for %d, applied %d; want 1, 6, 1", len(outcome.Results), outcome.WaitMeta, r.applied(t))
	}
	r.metaIndex = 5
	if outcome, err = r.apply(log[1:]); err != nil || len(outcome.Results) != 0 || outcome.WaitMeta != 6 {
		t.Fatalf("%d results, waiting for %d, %v; want none and 6", len(outcome.Results), outcome.WaitMeta, err)
	}
	r.metaIndex = 6
	if outcome, err = r.apply(log[1:]); err != nil || len(outcome.Results) != 4 || r.applied(t) != 3 || len(r.seqs(t)) != 5 {
		t.Fatalf("%d results, applied %d, rows %v, %v", len(outcome.Results), r.applied(t), r.seqs(t), err)
	}
}

// TestPackedEntriesAreWhole: what cannot come out of a log stops the replica.
func TestPackedEntriesAreWhole(t *testing.T) {
	t.Parallel()
	a, b := write(t, 1, 0, "a"), write(t, 2, 0, "b")
	open := packed(1, a, b)
	open[1].More = true
	gap := packed(1, a, b)
	gap[1].Position = 2
	moved := packed(1, a, b)
	moved[1].Index = 2
	for name, test := range map[string]struct {
		group shard.GroupID
		run   []command.Entry
		want  string
	}{
		"cut off":       {shard.SharedShard(0), open, "the run ends within the entry"},
		"a gap":         {shard.SharedShard(0), gap, "position 2 of index 1 where position 1 is next"},
		"two indexes":   {shard.SharedShard(0), moved, "position 1 of index 2 where position 1 is next"},
		"meta commands": {shard.Meta, packed(1, a, b), "2 commands in an entry of the meta group"},
	} {
		_, err := newReplica(t, test.group).apply(test.run)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// TestRememberedRequestsAreBoundedWhenPacked fills the window with entries of many commands: of more requests than a window
// and a chunk hold only the newest window stays, a request of which a copy may be forgotten is refused, and a
// replica that was restarted in between remembers the same.
func TestRememberedRequestsAreBoundedWhenPacked(t *testing.T) {
	t.Parallel()
	const window, each = chunk, 100
	start := func(r *replica) *SharedData {
		machine := &SharedData{newData(r.group, shard.ClassShared, func() uint64 { return 0 }, Options{RequestWindow: window})}
		must(t, machine.Restore(r.engine))
		r.machine = machine
		return machine
	}
	steady, restarted := newReplica(t, shard.SharedShard(0)), newReplica(t, shard.SharedShard(0))
	machine := start(steady)
	start(restarted)
	request := func(serial, minIndex uint64) []byte {
		return encode(t, &commandv1.Command{
			Header: &commandv1.Header{
				RequestId: binary.BigEndian.AppendUint64(make([]byte, 8, 16), serial), MinIndex: minIndex, NowMicros: 1_000_000,
			},
			Body: &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{Rows: []*commandv1.RowWrite{
				{TableId: 5, PrimaryKey: []byte("k"), Row: []byte("row")},
			}}},
		})
	}
	serial, most := uint64(1), 0
	var results [][]byte
	for index := uint64(1); index <= 60; index++ {
		data := make([][]byte, each)
		for i := range data {
			data[i] = request(serial, index-1)
			serial++
		}
		outcome, err := steady.apply(packed(index, data...))
		must(t, err)
		results = append(results, outcome.Results...)
		start(restarted)
		again, err := restarted.apply(packed(index, data...))
		must(t, err)
		if diff := cmp.Diff(outcome.Results, again.Results); diff != "" {
			t.Fatalf("index %d: a restarted replica answers otherwise (-want +got):\n%s", index, diff)
		}
		remembered := len(machine.duplicates.found)
		if listed := len(machine.duplicates.order) - machine.duplicates.head; listed != remembered || remembered > window+chunk+each {
			t.Fatalf("after index %d: %d requests in memory, %d in order; want at most %d", index, remembered, listed, window+chunk+each)
		}
		most = max(most, remembered)
	}
	if most < window {
		t.Errorf("never more than %d requests were remembered, want at least the window of %d", most, window)
	}
	for _, r := range []*replica{steady, restarted} {
		if r == restarted {
			start(restarted)
		}
		newest, err := r.apply([]command.Entry{{Index: 61, Term: 1, Data: request(serial-window, 0)}})
		must(t, err)
		if want := results[len(results)-window]; string(newest.Results[0]) != string(want) {
			t.Errorf("the oldest request within the window is answered %v, want its first response", decodeResult(t, newest.Results[0]))
		}
		oldest, err := r.apply([]command.Entry{{Index: 62, Term: 1, Data: request(1, 0)}})
		must(t, err)
		if response := decodeResult(t, oldest.Results[0]); fault.Kind(response.GetFailure().GetKind()) != fault.Timeout {
			t.Errorf("the oldest request is answered %v, want an unknown outcome", response)
		}
	}
	if diff := cmp.Diff(steady.dump(t), restarted.dump(t)); diff != "" {
		t.Errorf("a restarted replica holds something else (-want +got):\n%s", diff)
	}
}

// TestRunWritesAScopeOnce counts the writes of a run: two for each row (itself and its change), one for each entry (its requests), and one
// for the scope that all rows share. A command later in the run sees the scope's last write before it is in the batch.
func TestRunWritesAScopeOnce(t *testing.T) {
	t.Parallel()
	r := newReplica(t, shard.SharedShard(0))
	_, err := r.apply(packed(1, write(t, 1, 0, "first")))
	must(t, err)
	var run []command.Entry
	for i := range byte(8) {
		run = append(run, packed(2+uint64(i), write(t, 10+2*i, 0, string('a'+rune(i))), write(t, 11+2*i, 0, string('A'+rune(i))))...)
	}
	batch := r.engine.NewBatch()
	defer batch.Close() //nolint:errcheck // the store is memory
	_, err = r.machine.Apply(batch, run)
	must(t, err)
	if want := 16*2 + 8 + 1; batch.Count() != want {
		t.Errorf("%d writes, want %d", batch.Count(), want)
	}

	whole := encode(t, &commandv1.Command{
		Header: &commandv1.Header{RequestId: append(make([]byte, 15), 99), NowMicros: 1},
		Body: &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{
			Scopes: []*commandv1.ScopeUnchanged{{TableId: 5, Index: 20}},
			Rows:   []*commandv1.RowWrite{{TableId: 5, PrimaryKey: []byte("z"), Row: []byte("row")}},
		}},
	})
	outcome, err := r.machine.Apply(batch, append(packed(21, write(t, 50, 0, "y")), packed(22, whole)...))
	must(t, err)
	if failure := decodeResult(t, outcome.Results[1]).GetFailure(); fault.Kind(failure.GetKind()) != fault.Conflict {
		t.Errorf("the scope was written at 21 in the same run: %v", failure)
	}
}
