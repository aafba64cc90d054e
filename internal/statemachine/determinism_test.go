package statemachine

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// randomLog is a log of one group with everything in it: good commands, refused ones, repeats of old
// requests, no-ops, purges, gaps in the indexes that push requests out of the window, and, but in the meta group, entries
// that hold several commands.
func randomLog(tb testing.TB, random *rand.Rand, group shard.GroupID, length int) []command.Entry {
	tb.Helper()
	log := make([]command.Entry, 0, length)
	index := uint64(0)
	for len(log) < length {
		entry := command.Entry{Index: index, Term: 1}
		if last := len(log) - 1; group.Class() != shard.ClassMeta && last >= 0 && random.IntN(3) == 0 {
			log[last].More = true
			entry.Position = log[last].Position + 1
		} else {
			index++
			if random.IntN(40) == 0 {
				index += uint64(random.IntN(6_000))
			}
			entry.Index = index
		}
		switch pick := random.IntN(20); {
		case pick == 0: // a no-op
		case pick < 3 && len(log) > 0: // a retry, with the same bytes
			back := len(log)
			if random.IntN(3) == 0 {
				back = min(back, 3)
			}
			entry.Data = log[len(log)-1-random.IntN(back)].Data
		default:
			cmd := randomCommand(random, group, index)
			var id [10]byte
			for i := range id {
				id[i] = byte(random.Uint32())
			}
			request := command.NewRequestID(int64(index), id)
			cmd.Header = &commandv1.Header{
				RequestId: request[:], MinIndex: index - min(index, uint64(random.IntN(20))),
				NowMicros: int64(1_000_000 + index),
				LogFormat: command.LogFormat * uint32(index&1), // members may be of two versions for a while
			}
			entry.Data = encode(tb, cmd)
		}
		log = append(log, entry)
	}
	log[len(log)-1].More = false
	return log
}

func randomCommand(random *rand.Rand, group shard.GroupID, index uint64) *commandv1.Command {
	if group.Class() == shard.ClassMeta && index > 1 && random.IntN(3) == 0 {
		return randomJobCommand(random, index)
	}
	if group.Class() == shard.ClassMeta {
		return randomMetaCommand(random, index)
	}
	user := ""
	if group.Class() == shard.ClassUser {
		user = fmt.Sprint("user", random.IntN(3))
	}
	table := uint64(1 + random.IntN(3))
	if random.IntN(50) == 0 {
		return &commandv1.Command{Body: &commandv1.Command_PurgeTable{
			PurgeTable: &commandv1.PurgeTable{TableId: uint64(3 + random.IntN(3))},
		}}
	}
	if random.IntN(20) == 0 {
		return &commandv1.Command{Body: &commandv1.Command_RetainChanges{RetainChanges: &commandv1.RetainChanges{
			Entries: uint64(random.IntN(40)), Bytes: uint64(random.IntN(4000)), AgeMicros: int64(random.IntN(60)),
		}}}
	}
	body := &commandv1.WriteRows{}
	for range 1 + random.IntN(4) {
		row := &commandv1.RowWrite{
			TableId: table, User: user, PrimaryKey: []byte{byte(random.IntN(12))}, Row: []byte(strconv.Itoa(random.IntN(100))),
			Deleted: random.IntN(4) == 0, Expect: commandv1.Expect(random.IntN(3)),
			ExpectSeq: command.Seq(index-min(index, uint64(random.IntN(30))), random.IntN(2)),
		}
		body.Rows = append(body.Rows, row)
	}
	if random.IntN(4) == 0 {
		body.Scopes = append(body.Scopes, &commandv1.ScopeUnchanged{
			TableId: table, User: user, Index: index - min(index, uint64(random.IntN(8))),
		})
	}
	return &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: body}}
}

func randomMetaCommand(random *rand.Rand, index uint64) *commandv1.Command {
	namespace, name := fmt.Sprint("ns", random.IntN(3)), fmt.Sprint("t", random.IntN(4))
	user := fmt.Sprint("user", random.IntN(4))
	id := func(n int) []byte { return append(make([]byte, 15), byte(n)) }
	member := &commandv1.Member{
		NodeId: uint64(1 + random.IntN(3)), StoreId: id(1 + random.IntN(9)),
		RpcAddr: fmt.Sprint("rpc", random.IntN(2)),
	}
	column := []*commandv1.Column{{Id: 1, Name: "id", Type: &commandv1.Type{Kind: 4}, PrimaryKey: true}}
	options := map[string]string{"A": "1", "B": "2", "C": "3", "D": strconv.FormatUint(index, 10)}
	if index == 1 {
		return &commandv1.Command{Body: &commandv1.Command_Found{Found: &commandv1.Found{
			ClusterUid: id(7), ClusterId: "local", UserShards: 4, SharedShards: 2, Member: member,
		}}}
	}
	switch random.IntN(16) {
	case 12, 13:
		return &commandv1.Command{Body: &commandv1.Command_CreateView{CreateView: &commandv1.CreateView{OrReplace: random.IntN(2) == 0, View: &commandv1.View{
			Namespace: namespace, Name: "v" + name, Query: "SELECT id FROM " + name, Within: namespace, Columns: column,
			Uses: []*commandv1.ObjectName{{Namespace: namespace, Name: name}, {Namespace: "ns0", Name: "t0"}, {Namespace: "ns1", Name: "vt1"}}[:1+random.IntN(3)],
		}}}}
	case 14:
		return &commandv1.Command{Body: &commandv1.Command_DropView{
			DropView: &commandv1.DropView{Namespace: namespace, Name: "v" + name, IfExists: true, Cascade: random.IntN(2) == 0},
		}}
	case 15:
		return &commandv1.Command{Body: &commandv1.Command_DropTable{
			DropTable: &commandv1.DropTable{Namespace: namespace, Name: name, Cascade: true},
		}}
	case 0, 1:
		return &commandv1.Command{Body: &commandv1.Command_CreateNamespace{
			CreateNamespace: &commandv1.CreateNamespace{Name: namespace, Options: options},
		}}
	case 2:
		return &commandv1.Command{Body: &commandv1.Command_DropNamespace{
			DropNamespace: &commandv1.DropNamespace{Name: namespace, IfExists: true, Cascade: random.IntN(2) == 0},
		}}
	case 3, 4, 5:
		return &commandv1.Command{Body: &commandv1.Command_CreateTable{CreateTable: &commandv1.CreateTable{
			Table: &commandv1.Table{
				Namespace: namespace, Name: name, Kind: uint32(1 + random.IntN(2)),
				Columns: column, Options: options,
			},
		}}}
	case 6:
		return &commandv1.Command{Body: &commandv1.Command_DropTable{
			DropTable: &commandv1.DropTable{Namespace: namespace, Name: name},
		}}
	case 7:
		return &commandv1.Command{Body: &commandv1.Command_CreateUser{CreateUser: &commandv1.CreateUser{
			User: &commandv1.User{Id: user, PasswordHash: "h", Role: 1},
		}}}
	case 8:
		return &commandv1.Command{Body: &commandv1.Command_DropUser{DropUser: &commandv1.DropUser{Id: user}}}
	case 9:
		return &commandv1.Command{Body: &commandv1.Command_RecordLogin{RecordLogin: &commandv1.RecordLogin{
			Id: user, Success: random.IntN(3) == 0, LockAfter: 2, LockForMicros: 3,
		}}}
	case 10:
		return &commandv1.Command{Body: &commandv1.Command_RemoveMember{
			RemoveMember: &commandv1.RemoveMember{ReplicaId: uint64(1 + random.IntN(6))},
		}}
	default:
		return &commandv1.Command{Body: &commandv1.Command_AddMember{AddMember: &commandv1.AddMember{Member: member}}}
	}
}

// reference applies a log in one run.
func reference(t *testing.T, group shard.GroupID, log []command.Entry) (content map[string]string, results [][]byte) {
	t.Helper()
	r := newReplica(t, group)
	outcome, err := r.apply(log)
	must(t, err)
	if len(outcome.Results) != len(log) {
		t.Fatalf("applied %d of %d entries", len(outcome.Results), len(log))
	}
	checkPublished(t, r)
	return r.dump(t), outcome.Results
}

// checkPublished compares what a machine holds in memory with what a restart reads from the keys.
func checkPublished(t *testing.T, r *replica) {
	t.Helper()
	if r.group != shard.Meta {
		return
	}
	published := fmt.Sprintf("%+v", summary(r.store.Current()))
	r.restart(t)
	if loaded := fmt.Sprintf("%+v", summary(r.store.Current())); loaded != published {
		t.Errorf("the keys hold\n%s\nbut published was\n%s", loaded, published)
	}
}

// wholeEntries is how many of the first commands of a log to take, at least n, so that no entry is cut.
func wholeEntries(log []command.Entry, n int) int {
	for log[n-1].More {
		n++
	}
	return n
}

var groups = []shard.GroupID{shard.Meta, shard.UserShard(3), shard.SharedShard(0)}

// TestSameLogSameState applies one log in many ways: cut into runs of any size, with restarts between them. The
// key space and every response must be the same bytes.
func TestSameLogSameState(t *testing.T) {
	t.Parallel()
	for _, group := range groups {
		for seed := range uint64(3) {
			t.Run(fmt.Sprint(group, " seed ", seed), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(seed, uint64(group)))
				log := randomLog(t, random, group, 700)
				want, wantResults := reference(t, group, log)
				for _, longest := range []int{1, 40} {
					r := newReplica(t, group)
					var results [][]byte
					for rest := log; len(rest) > 0; {
						n := wholeEntries(rest, min(len(rest), 1+random.IntN(longest)))
						outcome, err := r.apply(rest[:n])
						must(t, err)
						results = append(results, outcome.Results...)
						rest = rest[n:]
						if random.IntN(10) == 0 {
							r.restart(t)
						}
					}
					compareRuns(t, fmt.Sprint("runs of up to ", longest), want, r.dump(t), wantResults, results)
					checkPublished(t, r)
				}
			})
		}
	}
}

// TestCrashAndReplayGivesTheSameState cuts the power at random moments and goes on from the applied index
// that is found, as replication does.
func TestCrashAndReplayGivesTheSameState(t *testing.T) {
	t.Parallel()
	for _, group := range groups {
		for seed := range uint64(3) {
			t.Run(fmt.Sprint(group, " seed ", seed), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(seed, 7+uint64(group)))
				log := randomLog(t, random, group, 600)
				want, wantResults := reference(t, group, log)
				r := newReplica(t, group)
				results := make([][]byte, len(log))
				crashes := 0
				for at := 0; at < len(log); {
					n := wholeEntries(log[at:], min(len(log)-at, 1+random.IntN(30)))
					outcome, err := r.apply(log[at : at+n])
					must(t, err)
					copy(results[at:], outcome.Results)
					at += n
					if random.IntN(4) == 0 {
						must(t, r.engine.Flush())
					}
					if random.IntN(5) == 0 && crashes < 8 {
						crashes++
						r.crash(t)
						at = position(log, r.applied(t))
					}
				}
				if crashes == 0 {
					t.Error("never crashed: the test proves nothing")
				}
				compareRuns(t, "after crashes", want, r.dump(t), wantResults, results)
				checkPublished(t, r)
			})
		}
	}
}

// position is how many entries of the log are applied.
func position(log []command.Entry, applied uint64) int {
	for i := range log {
		if log[i].Index > applied {
			return i
		}
	}
	return len(log)
}

func compareRuns(t *testing.T, name string, want, got map[string]string, wantResults, results [][]byte) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: key space differs (-want +got):\n%s", name, diff)
	}
	if diff := cmp.Diff(wantResults, results); diff != "" {
		t.Errorf("%s: results differ (-want +got):\n%s", name, diff)
	}
}

// TestRandomLogsCoverTheOutcomes guards the two tests above: logs in which everything is refused prove
// nothing.
func TestRandomLogsCoverTheOutcomes(t *testing.T) {
	t.Parallel()
	for _, group := range groups {
		seen := map[string]int{}
		for seed := range uint64(6) {
			log := randomLog(t, rand.New(rand.NewPCG(seed, uint64(group))), group, 900)
			_, results := reference(t, group, log)
			requests, byIndex := map[ident.RequestID]bool{}, map[ident.RequestID]uint64{}
			for i, result := range results {
				if len(result) == 0 {
					seen["no-op"]++
					continue
				}
				response := decodeResult(t, result)
				if response.GetFailure() != nil {
					seen[fmt.Sprintf("%.20s", command.Failure(response).Error())]++
				} else {
					seen["done"]++
				}
				cmd, err := command.Decode(log[i].Data)
				must(t, err)
				id := command.RequestID(cmd)
				switch ran := response.GetIndex() == log[i].Index; {
				case ran && byIndex[id] == response.GetIndex():
					seen["repeat in its entry"]++ // that it did not run is shown by TestPackedCommands
				case ran && requests[id] && response.GetFailure().GetKind() != uint32(fault.Timeout):
					t.Errorf("%s: request %s ran again at index %d", group, id, log[i].Index)
				case !ran && requests[id]:
					seen["repeat"]++
				case !ran:
					t.Errorf("%s: request %s at index %d was answered before it was made", group, id, log[i].Index)
				}
				requests[id], byIndex[id] = true, response.GetIndex()
			}
		}
		want := []string{"no-op", "done", "repeat", "the request is too o"}
		if group != shard.Meta {
			want = append(want, "Primary key violatio", "the row was changed ", "the table was change", "Table not found: it ", "repeat in its entry")
		}
		for _, name := range want {
			if seen[name] < 5 {
				t.Errorf("%s: outcome %q seen %d times in %v", group, name, seen[name], seen)
			}
		}
	}
}
