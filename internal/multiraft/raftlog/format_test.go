package raftlog

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

var rewriteGolden = flag.Bool("rewrite", false, "write the golden files anew")

func testEntry(index, term uint64, data string) *raftpb.Entry {
	kind := raftpb.EntryNormal
	return &raftpb.Entry{Index: &index, Term: &term, Type: &kind, Data: []byte(data)}
}

// goldenLog writes every kind of section but a rewrite, which sections of entries share their form with.
func goldenLog(t *testing.T, fs disk.FS) Config {
	t.Helper()
	cfg := Config{
		FS: fs, Dir: "log", SegmentBytes: minSegmentBytes,
		StoreID: ident.StoreID{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf},
	}
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, updates := range [][]Update{
		{
			{Group: 10, Hard: &HardState{Term: 1, Vote: 2, Commit: 1}, Entries: []*raftpb.Entry{testEntry(1, 1, "first"), testEntry(2, 1, "")}},
			{Group: 100, Reset: &Marker{Index: 500, Term: 7}, Hard: &HardState{Term: 8, Vote: 1, Commit: 500}},
		},
		{{Group: 10, Entries: []*raftpb.Entry{testEntry(2, 1, "second, replaced")}}},
	} {
		if err := l.Append(updates, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Truncate(10, 1); err != nil {
		t.Fatal(err)
	}
	if err := l.writeOps([]op{{
		kind: sectionRewrite, group: l.Group(10), entries: []*raftpb.Entry{testEntry(2, 1, "second, replaced")},
		from: []entryMeta{*l.Group(10).meta(2)},
	}, {kind: sectionFree, oldest: 1}}, false); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func segmentFile(t *testing.T, fs disk.FS) []byte {
	t.Helper()
	b := make([]byte, minSegmentBytes)
	f, err := fs.Open("log/" + segmentName(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}

// dump prints 16 bytes a line and leaves out lines of zeros.
func dump(b []byte) string {
	var text strings.Builder
	for at := 0; at < len(b); at += 16 {
		if line := b[at : at+16]; !allZero(line) {
			fmt.Fprintf(&text, "%04x  %x\n", at, line)
		}
	}
	return text.String()
}

func undump(t *testing.T, text string) []byte {
	t.Helper()
	b := make([]byte, minSegmentBytes)
	for line := range strings.Lines(text) {
		var at int
		var digits string
		if _, err := fmt.Sscanf(line, "%x %s", &at, &digits); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if _, err := hex.Decode(b[at:], []byte(digits)); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
	}
	return b
}

// The bytes of version 1 never change: they are written as ever, and read as ever.
func TestGoldenSegment(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	cfg := goldenLog(t, fs)
	path := filepath.Join("testdata", "segment-v1.txt")
	got := dump(segmentFile(t, fs))
	if *rewriteGolden {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the format changed (-want +got):\n%s", diff)
	}

	old := vfs.NewMem()
	if err = old.MkdirAll("log", 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := old.Create("log/"+segmentName(1), disk.Category)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = f.Write(undump(t, string(want))); err != nil {
		t.Fatal(err)
	}
	if err = f.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.FS, cfg.CacheBytes = old, -1
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, id := range l.Groups() {
		g := l.Group(id)
		fmt.Fprintf(&text, "%d %+v %+v last %d", id, g.HardState(), g.Marker(), g.LastIndex())
		entries, err := g.Entries(g.FirstIndex(), g.LastIndex()+1, noIndex)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			fmt.Fprintf(&text, " %d/%d %q", entry.GetIndex(), entry.GetTerm(), entry.GetData())
		}
		text.WriteString("\n")
	}
	const wantText = `10 {Term:1 Vote:2 Commit:1} {Index:1 Term:1} last 2 2/1 "second, replaced"
100 {Term:8 Vote:1 Commit:500} {Index:500 Term:7} last 500
`
	if text.String() != wantText {
		t.Errorf("read\n%swant\n%s", text.String(), wantText)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// Any bytes are a payload or an error, and what replay makes of a payload is bounded by its size.
func FuzzDecodeSections(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendHard(nil, 10, HardState{Term: 1, Vote: 2, Commit: 3}))
	f.Add(appendFree(appendMarker(nil, sectionReset, 10, Marker{Index: 9, Term: 9}), 3))
	entries := appendEntriesHeader(nil, sectionEntries, 10, 5, 2)
	entries = appendEntry(appendEntry(entries, 10, testEntry(5, 1, "a")), 10, testEntry(6, 1, "bc"))
	f.Add(entries)
	entries = bytes.Clone(entries)
	entries[0] = byte(sectionRewrite)
	f.Add(append(entries, entries...))
	f.Fuzz(func(t *testing.T, payload []byte) {
		r := newReplay()
		if err := r.record(payload, 1, pageBytes); err != nil {
			return
		}
		for id, g := range r.groups {
			count := 0
			for i, run := range g.runs {
				count += len(run.metas)
				if len(run.metas) == 0 || i > 0 && g.runs[i-1].end() > run.first {
					t.Fatalf("group %d: runs overlap or are empty: %+v", id, g.runs)
				}
				for _, m := range run.metas {
					if int(m.offset)+int(m.size) > pageBytes+len(payload) {
						t.Fatalf("group %d: an entry lies outside of the payload: %+v", id, m)
					}
				}
			}
			if count > len(payload)/entryHeaderBytes {
				t.Fatalf("group %d: %d entries in %d bytes", id, count, len(payload))
			}
		}
		_ = r.finish() // must return; most inputs are damaged groups
	})
}

// Any bytes are a record or nothing, and a record is verified where it was written and nowhere else.
func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte("payload"), uint64(1), uint64(2), int64(4096))
	f.Add([]byte{}, uint64(0), uint64(1), int64(4096))
	f.Fuzz(func(t *testing.T, payload []byte, number, sequence uint64, offset int64) {
		at := place{sequence: sequence, offset: offset}
		decodeRecord(payload, at)
		record := append(make([]byte, recordHeaderBytes), payload...)
		sealRecord(record, at, number)
		got, found, ok := decodeRecord(append(bytes.Clone(record), "what follows"...), at)
		if !ok || found != number || !bytes.Equal(got, payload) {
			t.Fatalf("round trip: %q %d %t", got, found, ok)
		}
		for _, other := range []place{
			{sequence: sequence + 1, offset: offset},
			{sequence: sequence, offset: offset + recordAlign},
			{sequence: sequence, offset: offset, store: ident.StoreID{1}},
		} {
			if _, _, ok := decodeRecord(record, other); ok {
				t.Fatalf("a record of %+v verifies at %+v", at, other)
			}
		}
		record[len(record)/2] ^= 4
		if _, _, ok := decodeRecord(record, at); ok {
			t.Fatal("a changed record verifies")
		}
	})
}

// FuzzDecodeEntry: any bytes are the entry that is asked for or an error.
func FuzzDecodeEntry(f *testing.F) {
	f.Add(appendEntry(nil, 10, testEntry(5, 6, "data")), uint64(5), uint64(6))
	f.Fuzz(func(t *testing.T, b []byte, index, term uint64) {
		_, data, err := decodeEntry(b, 10, index, term)
		if err == nil && len(data) != len(b)-entryHeaderBytes {
			t.Fatalf("%d bytes of data in %d", len(data), len(b))
		}
		encoded := appendEntry(nil, 10, &raftpb.Entry{Index: &index, Term: &term, Data: b})
		if _, data, err := decodeEntry(encoded, 10, index, term); err != nil || !bytes.Equal(data, b) {
			t.Fatalf("round trip: %q, %v", data, err)
		}
		if _, _, err := decodeEntry(encoded, 10, index+1, term); err == nil {
			t.Fatal("an entry verifies under another index")
		}
		if _, _, err := decodeEntry(encoded, 11, index, term); err == nil {
			t.Fatal("an entry verifies in another group")
		}
		if _, _, err := decodeEntry(encoded, 10, index, term+1); err == nil {
			t.Fatal("an entry verifies with another term")
		}
	})
}
