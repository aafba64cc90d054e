package keys

import (
	"encoding/binary"
	"math"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Split takes a key apart into group, kind and the rest, which aliases the key.
func Split(key []byte) (group shard.GroupID, kind Kind, rest []byte, err error) {
	if len(key) < groupLen+1 {
		return 0, 0, nil, malformed(key, "too short")
	}
	if key[0] != Root {
		return 0, 0, nil, malformed(key, "unknown first byte")
	}
	group = shard.GroupID(binary.BigEndian.Uint64(key[1:groupLen]))
	return group, Kind(key[groupLen]), key[groupLen+1:], nil
}

// RowKey is a parsed Row key. PrimaryKey aliases the key it was parsed from.
type RowKey struct {
	Group      shard.GroupID
	Table      ident.TableID
	User       ident.UserID
	PrimaryKey []byte
}

// ParseRow takes a Row key apart.
func ParseRow(key []byte) (RowKey, error) {
	group, rest, err := expect(key, KindRow)
	if err != nil {
		return RowKey{}, err
	}
	row, err := parseScoped(key, rest)
	row.Group = group
	return row, err
}

// ParseScope takes a Scope key apart; its PrimaryKey is empty.
func ParseScope(key []byte) (RowKey, error) { return parseWhole(key, KindScope) }

// ParseManifest takes a Manifest key apart; its PrimaryKey is empty.
func ParseManifest(key []byte) (RowKey, error) { return parseWhole(key, KindManifest) }

// parseWhole takes a key apart that is of all rows that a user has in a table, and ends with the user.
func parseWhole(key []byte, kind Kind) (RowKey, error) {
	group, rest, err := expect(key, kind)
	if err != nil {
		return RowKey{}, err
	}
	scope, err := parseScoped(key, rest)
	if err == nil && len(scope.PrimaryKey) > 0 {
		return RowKey{}, malformed(key, "bytes after the user")
	}
	scope.Group = group
	return scope, err
}

// ParseDedup returns the group and log index of a Dedup key.
func ParseDedup(key []byte) (group shard.GroupID, index uint64, err error) {
	return parseNumbered(key, KindDedup)
}

// ParseChange returns the group and _seq of a Change key.
func ParseChange(key []byte) (group shard.GroupID, seq uint64, err error) {
	return parseNumbered(key, KindChange)
}

// ParsePurged returns the group and table of a Purged key.
func ParsePurged(key []byte) (group shard.GroupID, table ident.TableID, err error) {
	group, id, err := parseNumbered(key, KindPurged)
	return group, ident.TableID(id), err
}

// ParseMark returns the group and time of a Mark key.
func ParseMark(key []byte) (group shard.GroupID, micros int64, err error) {
	group, at, err := parseNumbered(key, KindMark)
	if err == nil && at > math.MaxInt64 {
		return 0, 0, malformed(key, "a time that no clock shows")
	}
	return group, int64(at), err //nolint:gosec // checked above
}

// ParseFence returns the group and table of a Fence key.
func ParseFence(key []byte) (group shard.GroupID, table ident.TableID, err error) {
	group, id, err := parseNumbered(key, KindFence)
	return group, ident.TableID(id), err
}

// parseNumbered returns the group of a key, and the number that is all the rest of it.
func parseNumbered(key []byte, kind Kind) (shard.GroupID, uint64, error) {
	group, rest, err := expect(key, kind)
	if err != nil {
		return 0, 0, err
	}
	value, err := number(key, rest)
	return group, value, err
}

// IndexKey is a parsed IndexEntry key. Values aliases the key; it ends with the primary key when the values alone
// may be those of several rows.
type IndexKey struct {
	Group  shard.GroupID
	Table  ident.TableID
	Index  uint32
	User   ident.UserID
	Values []byte
}

// ParseIndexEntry takes an IndexEntry key apart.
func ParseIndexEntry(key []byte) (IndexKey, error) {
	group, rest, err := expect(key, KindIndex)
	if err != nil {
		return IndexKey{}, err
	}
	if len(rest) < 12 {
		return IndexKey{}, malformed(key, "no table and index")
	}
	index := binary.BigEndian.Uint32(rest[8:])
	// What follows the index has the form of what follows a table elsewhere.
	scoped, err := parseScoped(key, append(append(make([]byte, 0, len(rest)), rest[:8]...), rest[12:]...))
	return IndexKey{Group: group, Table: scoped.Table, Index: index, User: scoped.User, Values: scoped.PrimaryKey}, err
}

// ParseNumber returns the number of a meta key that ends in one: Table, Member, Cleanup.
func ParseNumber(key []byte, kind Kind) (uint64, error) {
	rest, err := expectMeta(key, kind)
	if err != nil {
		return 0, err
	}
	return number(key, rest)
}

// ParseName returns the name of a meta key that ends in one: Namespace, User, Sequence.
func ParseName(key []byte, kind Kind) (string, error) {
	rest, err := expectMeta(key, kind)
	return string(rest), err
}

func expectMeta(key []byte, want Kind) ([]byte, error) {
	group, rest, err := expect(key, want)
	if err == nil && group != shard.Meta {
		return nil, malformed(key, "another group than meta")
	}
	return rest, err
}

func expect(key []byte, want Kind) (shard.GroupID, []byte, error) {
	group, kind, rest, err := Split(key)
	if err != nil {
		return 0, nil, err
	}
	if kind != want {
		return 0, nil, malformed(key, "another kind")
	}
	return group, rest, nil
}

func number(key, rest []byte) (uint64, error) {
	if len(rest) != 8 {
		return 0, malformed(key, "want a number of 8 bytes at the end")
	}
	return binary.BigEndian.Uint64(rest), nil
}

func parseScoped(key, rest []byte) (RowKey, error) {
	if len(rest) < 8 {
		return RowKey{}, malformed(key, "no table")
	}
	row := RowKey{Table: ident.TableID(binary.BigEndian.Uint64(rest))}
	rest = rest[8:]
	user := make([]byte, 0, len(rest))
	for i := 0; i < len(rest); i++ {
		if rest[i] != escape {
			user = append(user, rest[i])
			continue
		}
		i++
		switch {
		case i == len(rest):
			return RowKey{}, malformed(key, "the user breaks off")
		case rest[i] == terminator:
			row.User, row.PrimaryKey = ident.UserID(user), rest[i+1:]
			return row, nil
		case rest[i] != escapedNul:
			return RowKey{}, malformed(key, "unknown escape in the user")
		}
		user = append(user, escape)
	}
	return RowKey{}, malformed(key, "the user does not end")
}
