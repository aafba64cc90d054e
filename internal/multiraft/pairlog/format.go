package pairlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// The keys: one kind byte, for groups the group(8, big-endian), for entries the index(8, big-endian). The values begin with the
// CRC32C of the key and of what follows; numbers in them are little-endian.
const (
	kindStamp  = 0x01 // version(4) store(16): which log this is
	kindHard   = 0x02 // term(8) vote(8) commit(8)
	kindMarker = 0x03 // index(8) term(8)
	kindEntry  = 0x04 // term(8) type(1) data

	formatVersion = 1

	sumBytes         = 4
	entryHeaderBytes = sumBytes + 8 + 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func stampKey() []byte { return []byte{kindStamp} }

func groupKey(kind byte, group shard.GroupID) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, uint64(group))
}

func entryKey(group shard.GroupID, index uint64) []byte {
	return binary.BigEndian.AppendUint64(groupKey(kindEntry, group), index)
}

// parseKey splits a key of a group.
func parseKey(key []byte) (kind byte, group shard.GroupID, index uint64, err error) {
	if len(key) == 9 && (key[0] == kindHard || key[0] == kindMarker) || len(key) == 17 && key[0] == kindEntry {
		if len(key) == 17 {
			index = binary.BigEndian.Uint64(key[9:])
		}
		return key[0], shard.GroupID(binary.BigEndian.Uint64(key[1:])), index, nil
	}
	return 0, 0, 0, fmt.Errorf("key %x is none of a log", key)
}

func seal(key, value []byte) []byte {
	binary.LittleEndian.PutUint32(value, sum(key, value))
	return value
}

func sum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value[sumBytes:])
}

// unseal verifies a value and returns what is behind the sum, of at least so many bytes.
func unseal(key, value []byte, atLeast int) ([]byte, error) {
	switch {
	case len(value) < sumBytes+atLeast:
		return nil, fmt.Errorf("value of key %x is cut short", key)
	case binary.LittleEndian.Uint32(value) != sum(key, value):
		return nil, fmt.Errorf("checksum of key %x does not match", key)
	}
	return value[sumBytes:], nil
}

func encodeHard(h raftlog.HardState) []byte { return numbers(h.Term, h.Vote, h.Commit) }

func encodeMarker(m raftlog.Marker) []byte { return numbers(m.Index, m.Term) }

func numbers(all ...uint64) []byte {
	value := make([]byte, sumBytes, sumBytes+8*len(all))
	for _, n := range all {
		value = binary.LittleEndian.AppendUint64(value, n)
	}
	return value
}

func decodeHard(b []byte) raftlog.HardState {
	return raftlog.HardState{
		Term: binary.LittleEndian.Uint64(b), Vote: binary.LittleEndian.Uint64(b[8:]), Commit: binary.LittleEndian.Uint64(b[16:]),
	}
}

func decodeMarker(b []byte) raftlog.Marker {
	return raftlog.Marker{Index: binary.LittleEndian.Uint64(b), Term: binary.LittleEndian.Uint64(b[8:])}
}

func encodeEntry(e *raftpb.Entry) []byte {
	value := make([]byte, sumBytes, entryHeaderBytes+len(e.GetData()))
	value = binary.LittleEndian.AppendUint64(value, e.GetTerm())
	value = append(value, byte(e.GetType())) //nolint:gosec // there are three
	return append(value, e.GetData()...)
}

// decodeEntry takes over what is behind the sum.
func decodeEntry(index uint64, b []byte) *raftpb.Entry {
	entry := &raftpb.Entry{Index: new(index), Term: new(binary.LittleEndian.Uint64(b)), Type: raftpb.EntryType(b[8]).Enum()}
	if len(b) > 9 {
		entry.Data = b[9:len(b):len(b)]
	}
	return entry
}
