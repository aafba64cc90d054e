package statemachine

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestScripts runs the stories in testdata/script. Commands:
//
//	group (meta | user | shared)   a new replica of such a group
//	meta index=N                   the meta group has applied N on this node
//	skip to=N                      the next entry has index N
//	apply                          one run of entries, one a line; prints responses and changed keys
//	restart | crash                a new state machine; a power cut
//	recover uid=N survivors=N,…    what a recovery writes into the meta group
//	catalog                        the published picture
//	jobs                           the records of jobs and schedules
//
// An entry is `[req=N] [min=N] [meta=N] [now=N] command …`; the commands are in parseCommand.
func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/script", func(t *testing.T, path string) {
		t.Helper()
		s := &script{next: 1}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			return s.run(t, d)
		})
	})
}

type script struct {
	*replica
	next uint64
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	number := func(name string) uint64 {
		var text string
		d.ScanArgs(t, name, &text)
		n, err := strconv.ParseUint(text, 10, 64)
		must(t, err)
		return n
	}
	switch d.Cmd {
	case "group":
		group := map[string]shard.GroupID{
			"meta": shard.Meta, "user": shard.UserShard(3), "shared": shard.SharedShard(0),
		}[d.CmdArgs[0].Key]
		s.replica, s.next = newReplica(t, group), 1
	case "meta":
		s.metaIndex = number("index")
	case "skip":
		s.next = number("to")
	case "restart":
		s.restart(t)
	case "crash":
		s.crash(t)
		return fmt.Sprintf("applied index %d", s.applied(t))
	case "recover":
		f := fields{t, []string{"uid=" + d.CmdArgs[0].Vals[0], "survivors=" + strings.Join(d.CmdArgs[1].Vals, ",")}}
		var uid ident.ClusterUID
		copy(uid[:], f.id("uid"))
		s.recover(t, uid, f.numbers("survivors"))
	case "flush":
		must(t, s.engine.Flush())
	case "catalog":
		return summary(s.store.Current())
	case "jobs":
		return jobSummary(t, s.engine)
	case "apply":
		return s.applyLines(t, d.Input)
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
	return "ok"
}

func (s *script) applyLines(t *testing.T, input string) string {
	t.Helper()
	var entries []command.Entry
	for line := range strings.Lines(input) {
		entry := command.Entry{Index: s.next + uint64(len(entries)), Term: 1}
		switch line = strings.TrimSpace(line); line {
		case "no-op":
		case "garbage":
			entry.Data = []byte{command.Version, 0xff}
		case "newer":
			entry.Data = []byte{command.Version + 1}
		default:
			entry.Data = encode(t, parseEntry(t, line))
		}
		entries = append(entries, entry)
	}
	before := s.dump(t)
	outcome, err := s.apply(entries)
	var out strings.Builder
	for i, result := range outcome.Results {
		fmt.Fprintf(&out, "%d: %s\n", entries[i].Index, printResult(t, entries[i].Index, result))
	}
	s.next += uint64(len(outcome.Results))
	if outcome.WaitMeta != 0 {
		fmt.Fprintf(&out, "%d: waits for meta %d\n", s.next, outcome.WaitMeta)
	}
	if err != nil {
		fmt.Fprintf(&out, "stopped: %s\n", strings.ReplaceAll(err.Error(), "\u00a0", " "))
		return out.String()
	}
	out.WriteString(printChanges(t, before, s.dump(t)))
	return out.String()
}

func printResult(t *testing.T, index uint64, result []byte) string {
	t.Helper()
	if len(result) == 0 {
		return "no-op"
	}
	response := decodeResult(t, result)
	text := ""
	if response.GetIndex() != index {
		text = fmt.Sprintf("repeat of %d: ", response.GetIndex())
	}
	if refused := response.GetFailure(); refused != nil {
		return text + fmt.Sprintf("refused, %s: %s", fault.Kind(refused.GetKind()), refused.GetMessage())
	}
	if response.GetAffected() > 0 {
		text += fmt.Sprintf("affected %d ", response.GetAffected())
	}
	if response.GetObjectId() > 0 {
		text += fmt.Sprintf("object %d ", response.GetObjectId())
	}
	return strings.TrimSpace(text + response.GetMessage())
}

// printChanges lists the keys that differ, without those that every run writes.
func printChanges(t *testing.T, before, after map[string]string) string {
	t.Helper()
	all := maps.Clone(before)
	maps.Copy(all, after)
	var out strings.Builder
	for _, key := range slices.Sorted(maps.Keys(all)) {
		old, had := before[key]
		value, has := after[key]
		mark := "~"
		switch {
		case had && has && old == value:
			continue
		case !had:
			mark = "+"
		case !has:
			mark = "-"
			value = old
		}
		if name := printKey(t, key, value, has); name != "" {
			fmt.Fprintf(&out, "  %s %s\n", mark, name)
		}
	}
	return out.String()
}

func printKey(t *testing.T, hexKey, hexValue string, withValue bool) string {
	t.Helper()
	key, err := hex.DecodeString(hexKey)
	must(t, err)
	value, err := hex.DecodeString(hexValue)
	must(t, err)
	_, kind, rest, err := keys.Split(key)
	must(t, err)
	switch kind { //nolint:exhaustive // the others are printed alike
	case keys.KindApplied:
		return ""
	case keys.KindDedup:
		_, index, err := keys.ParseDedup(key)
		must(t, err)
		return fmt.Sprintf("request %d at %d", value[16], index)
	case keys.KindRow:
		row, err := keys.ParseRow(key)
		must(t, err)
		text := fmt.Sprintf("row t=%d u=%s k=%s", row.Table, row.User, row.PrimaryKey)
		if !withValue {
			return text
		}
		seq, deleted, content, err := rowvalue.Decode(value)
		must(t, err)
		text += fmt.Sprintf(" seq=%d.%d v=%s", command.SeqIndex(seq), seq&command.MaxOrdinal, content)
		if deleted {
			text += " deleted"
		}
		return text
	case keys.KindScope:
		scope, err := keys.ParseScope(key)
		must(t, err)
		return fmt.Sprintf("scope t=%d u=%s written at %d", scope.Table, scope.User, binary.BigEndian.Uint64(value))
	case keys.KindChanges:
		return ""
	case keys.KindChange:
		return printChange(t, key, value)
	case keys.KindPurged:
		_, table, err := keys.ParsePurged(key)
		must(t, err)
		return fmt.Sprintf("purged t=%d", table)
	case keys.KindSequence:
		if string(rest) == "index" {
			return ""
		}
	}
	return fmt.Sprintf("kind %x %q", byte(kind), bytes.TrimLeft(rest, "\x00"))
}

func printChange(t *testing.T, key, value []byte) string {
	t.Helper()
	_, seq, err := keys.ParseChange(key)
	must(t, err)
	c, totals, err := changefeed.DecodeRecord(seq, value)
	must(t, err)
	return fmt.Sprintf("change %d.%d %s t=%d u=%s k=%s old=%q new=%q (%d so far)", command.SeqIndex(seq), seq&command.MaxOrdinal,
		c.Kind, c.Table, c.User, c.PrimaryKey, c.Old, c.New, totals.Entries)
}

// fields are the words of one entry: name=value pairs and bare flags, in order.
type fields struct {
	t     *testing.T
	words []string
}

func (f fields) text(name string) string {
	for _, word := range f.words {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return value
		}
	}
	return ""
}

func (f fields) number(name string) uint64 {
	f.t.Helper()
	text := f.text(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	must(f.t, err)
	return n
}

// numbers are separated by commas.
func (f fields) numbers(name string) []uint64 {
	var all []uint64
	for word := range strings.SplitSeq(f.text(name), ",") {
		if number, err := strconv.ParseUint(word, 10, 64); err == nil {
			all = append(all, number)
		}
	}
	return all
}

func (f fields) flag(name string) bool { return slices.Contains(f.words, name) }

func (f fields) id(name string) []byte {
	return append(make([]byte, 15), byte(f.number(name)))
}

// seq reads index.ordinal.
func (f fields) seq(name string) uint64 {
	f.t.Helper()
	index, ordinal, _ := strings.Cut(f.text(name), ".")
	i, err := strconv.ParseUint(index, 10, 64)
	must(f.t, err)
	n, err := strconv.Atoi(ordinal)
	must(f.t, err)
	return command.Seq(i, n)
}

func parseEntry(t *testing.T, line string) *commandv1.Command {
	t.Helper()
	f := fields{t, strings.Fields(strings.SplitN(line, "|", 2)[0])}
	cmd := parseCommand(t, f, line)
	cmd.Header = &commandv1.Header{MinIndex: f.number("min"), MetaIndex: f.number("meta"), NowMicros: int64(f.number("now"))}
	if f.number("req") != 0 {
		var id ident.RequestID
		copy(id[:], f.id("req"))
		cmd.Header.RequestId = id[:]
	}
	return cmd
}
