package multiraft

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/invariant"
)

// sealAll makes the data of the entries that proposals become.
func sealAll(packBytes int, commands ...[]byte) [][]byte {
	var block propBlock
	var proposals []*proposal
	for i := range commands {
		proposals = append(proposals, newProposal(ident.RequestID{byte(i + 1), 15: 0xee}, commands[i]))
	}
	var sealed [][]byte
	for _, e := range block.fill(proposals, packBytes) {
		sealed = append(sealed, slices.Clone(e.GetData()))
	}
	return sealed
}

// TestGoldenEnvelopes pins the bytes of both kinds of log entries. `-rewrite` is not offered: what was written stays readable.
func TestGoldenEnvelopes(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for _, e := range []struct {
		name     string
		commands [][]byte
	}{
		{"one command", [][]byte{[]byte("\x01abc")}},
		{"two commands", [][]byte{[]byte("\x01abc"), []byte("\x01d")}},
		{"three commands, one of them empty", [][]byte{[]byte("\x01abc"), {}, bytes.Repeat([]byte{7}, 130)}},
	} {
		fmt.Fprintf(&text, "%s: %s\n", e.name, hex.EncodeToString(sealAll(command.MaxPackedBytes, e.commands...)[0]))
	}
	want, err := os.ReadFile(filepath.Join("testdata", "envelopes.txt"))
	if err != nil || text.String() != string(want) {
		t.Errorf("%v; got\n%swant\n%s", err, text.String(), want)
	}
}

// TestPackingKeepsToItsBounds: proposals stay in order, an entry holds as many as it may, and one that is alone, too large
// to be with others, or of a cluster that does not pack has the envelope it always had.
func TestPackingKeepsToItsBounds(t *testing.T) {
	t.Parallel()
	sized := func(n int) []byte { return make([]byte, n) }
	var many, tiny [][]byte
	for range 40 {
		many = append(many, sized(5000))
	}
	for range 2*command.MaxPacked + 1 {
		tiny = append(tiny, []byte{1})
	}
	for name, test := range map[string]struct {
		packBytes int
		commands  [][]byte
		want      []int // commands of each entry
	}{
		"not allowed":   {0, [][]byte{sized(1), sized(2)}, []int{1, 1}},
		"alone":         {command.MaxPackedBytes, [][]byte{sized(1)}, []int{1}},
		"too large":     {command.MaxPackedBytes, [][]byte{sized(1), sized(2), sized(command.MaxPackedBytes), sized(3), sized(4)}, []int{2, 1, 2}},
		"many bytes":    {command.MaxPackedBytes, many, []int{13, 13, 13, 1}},
		"many commands": {command.MaxPackedBytes, tiny, []int{command.MaxPacked, command.MaxPacked, 1}},
	} {
		var got []int
		var order []byte
		for i, data := range sealAll(test.packBytes, test.commands...) {
			run, err := openEntry(nil, &raftpb.Entry{Index: new(uint64(i + 1)), Data: data})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got = append(got, len(run))
			for _, e := range run {
				order = append(order, e.RequestID[0])
			}
			if len(run) == 1 && data[0] != envelopeVersion || len(run) > 1 && len(data) > command.MaxPackedBytes {
				t.Errorf("%s: entry %d has version %d and %d bytes", name, i, data[0], len(data))
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: entries of %v commands, want %v", name, got, test.want)
		}
		for i, first := range order {
			if first != byte(i+1) {
				t.Fatalf("%s: command %d is the one of request %d", name, i, first)
			}
		}
	}
}

// TestMalformedPacks: what no leader writes is refused.
func TestMalformedPacks(t *testing.T) {
	t.Parallel()
	good := sealAll(command.MaxPackedBytes, []byte("\x01abc"), []byte("\x01d"))[0]
	one := good[:1+16+1+4]
	long := slices.Concat([]byte{packedVersion}, good[1:17], []byte{0x84, 0x00}, good[18:])
	for name, data := range map[string][]byte{
		"no command": {packedVersion}, "one command": one, "cut in an id": good[:len(good)-12], "cut in a command": good[:len(good)-1],
		"a length in more bytes than it needs": long,
		"too many bytes":                       append(slices.Clone(good), make([]byte, command.MaxPackedBytes)...),
		"too many commands":                    append([]byte{packedVersion}, make([]byte, 17*(command.MaxPacked+1))...),
	} {
		run, err := openEntry(nil, &raftpb.Entry{Index: new(uint64(9)), Data: data})
		if err == nil || len(run) != 0 || !strings.Contains(err.Error(), "log entry 9: malformed packed entry") {
			t.Errorf("%s: %v, %v", name, run, err)
		}
	}
}

// FuzzOpenPacked gives any bytes to the reader of packed entries; what it takes, it writes the same again.
func FuzzOpenPacked(f *testing.F) {
	f.Add(sealAll(command.MaxPackedBytes, []byte("\x01abc"), []byte("\x01d"), nil)[0][1:])
	f.Add(binary.AppendUvarint(make([]byte, 16), 1<<40))
	f.Fuzz(func(t *testing.T, rest []byte) {
		data := append([]byte{packedVersion}, rest...)
		run, err := openPacked(nil, 7, 2, data)
		if err != nil {
			return
		}
		again := []byte{packedVersion}
		for i, e := range run {
			again = appendPacked(again, sealEnvelope(nil, e.RequestID, e.Data))
			invariant.Check(e.Position == i && e.More == (i < len(run)-1) && e.Index == 7 && e.Term == 2, "command %d is %+v", i, e)
		}
		if !bytes.Equal(again, data) {
			t.Fatalf("%x is taken as %+v, which is %x", data, run, again)
		}
	})
}

// TestAppliedStatesAreProtobuf holds the encoder that remembers a configuration against protobuf.
func TestAppliedStatesAreProtobuf(t *testing.T) {
	t.Parallel()
	var encoder confEncoder
	three := &raftpb.ConfState{Voters: []uint64{1, 2, 3}}
	joint := &raftpb.ConfState{Voters: []uint64{1, 1 << 40}, VotersOutgoing: []uint64{1, 2}, Learners: []uint64{7}, AutoLeave: new(true)}
	for _, state := range []AppliedState{
		{Conf: &raftpb.ConfState{}},
		{Index: 1, Term: 1, Conf: three},
		{Index: 1 << 60, Term: 300, Conf: three},
		{Index: 128, Term: 1, Conf: joint},
		{Index: 129, Term: 1, Conf: three},
	} {
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(&raftpb.SnapshotMetadata{
			ConfState: state.Conf, Index: new(state.Index), Term: new(state.Term),
		})
		if err != nil {
			t.Fatal(err)
		}
		want := append([]byte{appliedVersion}, body...)
		if got, err := encoder.appendApplied(nil, state); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %x, %v, want %x", state, got, err, want)
		}
	}
}

// TestCountCommands: a run is sized by what will be opened.
func TestCountCommands(t *testing.T) {
	t.Parallel()
	if got := countCommands(nil); got != 1 {
		t.Errorf("an entry without data counts %d", got)
	}
	for n := 1; n < 5; n++ {
		sealed := sealAll(command.MaxPackedBytes, slices.Repeat([][]byte{bytes.Repeat([]byte{7}, 130)}, n)...)
		if got := countCommands(sealed[0]); got != n {
			t.Errorf("an entry of %d commands counts %d", n, got)
		}
		for cut := range sealed[0] {
			if got := countCommands(sealed[0][:cut]); got > max(n, 1) {
				t.Errorf("an entry of %d commands, cut to %d bytes, counts %d", n, cut, got)
			}
		}
	}
}
