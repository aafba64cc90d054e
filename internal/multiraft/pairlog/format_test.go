package pairlog

import (
	"bytes"
	"encoding/hex"
	"testing"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
)

// TestGolden: the bytes of a log stay what they are.
func TestGolden(t *testing.T) {
	t.Parallel()
	entry := &raftpb.Entry{Index: new(uint64(258)), Term: new(uint64(3)), Type: raftpb.EntryConfChangeV2.Enum(), Data: []byte("abc")}
	for _, c := range []struct{ name, got, want string }{
		{"key of an entry", hex.EncodeToString(entryKey(100, 258)), "0400000000000000640000000000000102"},
		{"entry", hex.EncodeToString(encodeEntry(entry)), "00000000030000000000000002616263"},
		{"hard state", hex.EncodeToString(encodeHard(raftlog.HardState{Term: 1, Vote: 2, Commit: 3})), "00000000010000000000000002000000000000000300000000000000"},
		{"marker", hex.EncodeToString(encodeMarker(raftlog.Marker{Index: 5, Term: 4})), "0000000005000000000000000400000000000000"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.name, c.got, c.want)
		}
	}
}

// FuzzPairs: any pair is read or refused, and a flipped bit is always refused.
func FuzzPairs(f *testing.F) {
	f.Add(entryKey(1, 2), encodeEntry(&raftpb.Entry{Data: []byte("x")}), uint16(3))
	f.Add(groupKey(kindHard, 9), encodeHard(raftlog.HardState{Term: 7}), uint16(0))
	f.Add([]byte{kindMarker}, []byte{}, uint16(9))
	f.Fuzz(func(t *testing.T, key, value []byte, bit uint16) {
		kind, group, index, err := parseKey(key)
		if err == nil {
			again := groupKey(kind, group)
			if kind == kindEntry {
				again = entryKey(group, index)
			}
			if !bytes.Equal(again, key) {
				t.Fatalf("key %x is read as %x", key, again)
			}
		}
		if len(value) < sumBytes+1 {
			return
		}
		if _, err := unseal(key, seal(key, value), 1); err != nil {
			t.Fatal(err)
		}
		value[int(bit/8)%len(value)] ^= 1 << (bit % 8)
		if _, err := unseal(key, value, 1); err == nil {
			t.Fatal("a flipped bit was not noticed")
		}
	})
}

// TestDamageIsFound: a value that changed below the log, and an entry that is gone, are damage at the next start.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]func(l *Log) error{
		"a changed entry": func(l *Log) error {
			b := l.store.NewBatch()
			value := seal(entryKey(1, 2), encodeEntry(&raftpb.Entry{Term: new(uint64(1))}))
			value[sumBytes]++
			return hurtBy(l, b, b.Set(entryKey(1, 2), value))
		},
		"a missing entry":         func(l *Log) error { b := l.store.NewBatch(); return hurtBy(l, b, b.Delete(entryKey(1, 2))) },
		"a missing last entry":    func(l *Log) error { b := l.store.NewBatch(); return hurtBy(l, b, b.Delete(entryKey(1, 3))) },
		"a missing stamp":         func(l *Log) error { b := l.store.NewBatch(); return hurtBy(l, b, b.Delete(stampKey())) },
		"a key of something else": func(l *Log) error { b := l.store.NewBatch(); return hurtBy(l, b, b.Set([]byte{9}, []byte("x"))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testDamage(t, hurt)
		})
	}
}
