package backup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// A chunk holds all rows between two places of a group. Stamps are hashes of what decides which rows these are and can be read without them: when
// one of them is what it was in an earlier backup, the chunk is taken over from there and its rows are not read.

// Part is one of the two runs of rows in a group: those of the row store, then those of segments.
type Part string

// Parts of a group.
const (
	Hot  Part = "hot"
	Cold Part = "cold"
)

// Place is where a row stands in its part.
type Place struct {
	Table ident.TableID `json:"table"`
	User  []byte        `json:"user,omitempty"`
	Key   []byte        `json:"key"`
}

// ChunkTable sums up the rows of one table in a chunk.
type ChunkTable struct {
	ID ident.TableID `json:"id"`
	Digest
}

// Range says which rows of a group a chunk holds: those of its part behind the end of the chunk before. Chunks of the catalog, and of backups that
// an earlier program made, have none.
type Range struct {
	Part   Part   `json:"part,omitempty"`
	End    *Place `json:"end,omitempty"`   // of the last row; nil is the end of the part
	Coarse string `json:"stamp,omitempty"` // by writes into the scopes
	// Fine is the stamp of cold rows by the keys of hot ones. Of hot ones it is that of what removes some without a word in
	// the log of changes: with it, what the log tells is all that changed. Empty where there is no such stamp.
	Fine   string       `json:"fine,omitempty"`
	Tables []ChunkTable `json:"tables,omitempty"`
}

// mostLooked bounds the backups that are looked at for one of this cluster.
const mostLooked = 4

// earlier returns the newest backup at the place that this state of the cluster remembers, nil when there is none. One that it does not
// remember may be of another history: of a directory that was replaced by an older copy.
func earlier(ctx context.Context, store objstore.Store, view storage.Reader, clusterUID string) (*Manifest, error) {
	recorded, err := catalog.LoadBackups(view)
	if err != nil {
		return nil, err
	}
	names, err := List(ctx, store)
	if err != nil {
		return nil, err
	}
	r, err := newReader(store)
	if err != nil {
		return nil, err
	}
	defer r.close()
	looked := 0
	for _, name := range slices.Backward(names) {
		known := slices.ContainsFunc(recorded, func(b *commandv1.Backup) bool { return b.GetName() == name })
		if !known {
			continue
		}
		if looked++; looked > mostLooked {
			break
		}
		m, err := r.manifest(ctx, name)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, objstore.ErrUnavailable):
			return nil, err
		case err == nil && m.ClusterUID == clusterUID:
			return m, nil
		}
		// It is of another cluster, or cannot be read: then the rows are.
	}
	return nil, nil
}

// startsOf lists the chunks of a group by the place behind which they begin.
func startsOf(m *Manifest, group shard.GroupID) map[string]*Chunk {
	found := map[string]*Chunk{}
	if m == nil {
		return found
	}
	for _, g := range m.Groups {
		if g.Group != group {
			continue
		}
		var start *Place
		part := Part("")
		for _, c := range g.Chunks {
			if c == nil || c.Part == "" || c.Coarse == "" {
				continue
			}
			if c.Part != part {
				part, start = c.Part, nil
			}
			found[startKey(part, start)] = c
			start = c.End
		}
	}
	return found
}

// appliedIn is the index of a group up to which a backup holds everything; zero when it has nothing of the group.
func appliedIn(m *Manifest, group shard.GroupID) uint64 {
	if m != nil {
		for _, g := range m.Groups {
			if g.Group == group {
				return g.Applied
			}
		}
	}
	return 0
}

func startKey(part Part, start *Place) string {
	if start == nil {
		return string(part)
	}
	key := append([]byte(part), 0)
	key = binary.BigEndian.AppendUint64(key, uint64(start.Table))
	key = binary.AppendUvarint(key, uint64(len(start.User)))
	return string(append(append(key, start.User...), start.Key...))
}

// stamper computes stamps in one view of a group.
type stamper struct {
	view  storage.Reader
	group shard.GroupID
	w     *writer
}

// stamps returns the coarse stamp of the rows of a part behind start and up to end, and the fine one when it is wanted and there is one.
func (s *stamper) stamps(part Part, start, end *Place, fine bool) (coarse, exact string, err error) {
	if part == Hot {
		if coarse, err = s.hot(start, end); err == nil && fine {
			exact, err = s.lasting(start, end)
		}
		return coarse, exact, err
	}
	if coarse, err = s.cold(start, end, false); err == nil && fine {
		exact, err = s.cold(start, end, true)
	}
	return coarse, exact, err
}

// begin hashes what decides how rows between two places are encoded.
func (s *stamper) begin(start, end *Place) hash.Hash {
	h := sha256.New()
	for _, t := range s.w.picture.Tables() {
		if _, ok := s.w.tables[t.ID]; ok && (start == nil || t.ID >= start.Table) && (end == nil || t.ID <= end.Table) {
			write(h, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, uint64(t.ID)), t.Version))
		}
	}
	return h
}

// write hashes a text so that it does not run into the next.
func write(h hash.Hash, text []byte) {
	_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(text)))) // a hash cannot fail
	_, _ = h.Write(text)
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)[:16]) }

// hot is a stamp of hot rows: who wrote last to their scopes, and which segments took rows from there.
func (s *stamper) hot(start, end *Place) (string, error) {
	h := s.begin(start, end)
	hashed := func(scope keys.RowKey, value []byte) error {
		write(h, keys.Scope(s.group, scope.Table, scope.User))
		write(h, value)
		return nil
	}
	err := s.each(keys.Scope, keys.ParseScope, start, end, hashed)
	if err == nil {
		write(h, []byte("segments"))
		err = s.each(keys.Manifest, keys.ParseManifest, start, end, hashed)
	}
	return sum(h), err
}

// lasting is a stamp of what removes hot rows between two places and leaves no change in the log of changes: segments that took them, and, of private rows,
// another account of the name. There is none for users without an account. Deletions that became old enough to be forgotten may stay in a backup.
func (s *stamper) lasting(start, end *Place) (string, error) {
	h := s.begin(start, end)
	write(h, []byte("hot"))
	if s.group.Class() != shard.ClassShared {
		told, err := s.accounts(h, start, end)
		if err != nil || !told {
			return "", err
		}
	}
	err := s.each(keys.Manifest, keys.ParseManifest, start, end, func(scope keys.RowKey, value []byte) error {
		stored, err := manifest.Decode(value)
		if err != nil {
			return err
		}
		low, high := within(scope, start, end)
		for _, segment := range stored.GetSegments() {
			if manifest.Overlaps(segment, low, high) {
				write(h, keys.Scope(s.group, scope.Table, scope.User))
				write(h, segment.GetSha256())
			}
		}
		return nil
	})
	return sum(h), err
}

// accounts hashes when the accounts of the scopes between two places were made. It says false where that does not tell what there is.
func (s *stamper) accounts(h hash.Hash, start, end *Place) (told bool, err error) {
	told = true
	err = s.each(keys.Scope, keys.ParseScope, start, end, func(scope keys.RowKey, _ []byte) error {
		account, known := s.w.picture.User(scope.User)
		if !known {
			told = false
			return nil
		}
		write(h, []byte(scope.User))
		write(h, binary.BigEndian.AppendUint64(nil, uint64(account.CreatedMicros))) //nolint:gosec // hashed
		return nil
	})
	return told, err
}

// each visits what lies under the keys of the scopes that two places are in, and of all between, of tables that are backed up.
func (s *stamper) each(
	keyOf func(shard.GroupID, ident.TableID, ident.UserID) []byte, parse func(key []byte) (keys.RowKey, error),
	start, end *Place, visit func(scope keys.RowKey, value []byte) error,
) (err error) {
	low := keyOf(s.group, 0, "")
	high := keyOf(s.group, ident.TableID(1<<64-1), "")
	if start != nil {
		low = keyOf(s.group, start.Table, ident.UserID(start.User))
	}
	if end != nil {
		high = append(keyOf(s.group, end.Table, ident.UserID(end.User)), 0)
	}
	it, err := s.view.Scan(low, high)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		scope, err := parse(it.Key())
		if err != nil {
			return err
		}
		if _, ok := s.w.tables[scope.Table]; !ok {
			continue
		}
		value, err := it.Value()
		if err == nil {
			err = visit(scope, value)
		}
		if err != nil {
			return err
		}
	}
	return it.Err()
}

// cold is a stamp of cold rows: the segments that have keys between the places, and what decides which of their rows are hidden by hot ones. That is,
// coarsely, who wrote last to their scopes; finely, the keys that are hot.
func (s *stamper) cold(start, end *Place, fine bool) (string, error) {
	h := s.begin(start, end)
	err := s.each(keys.Manifest, keys.ParseManifest, start, end, func(scope keys.RowKey, value []byte) error {
		stored, err := manifest.Decode(value)
		if err != nil {
			return err
		}
		low, high := within(scope, start, end)
		write(h, keys.Scope(s.group, scope.Table, scope.User))
		for _, segment := range stored.GetSegments() {
			if manifest.Overlaps(segment, low, high) {
				write(h, segment.GetSha256())
			}
		}
		if fine {
			return s.hotKeys(h, scope, low, high)
		}
		value, _, err = s.view.Get(keys.Scope(s.group, scope.Table, scope.User))
		write(h, value)
		return err
	})
	return sum(h), err
}

// within returns the keys of a scope that lie between two places: from low on and below high, nil for all.
func within(scope keys.RowKey, start, end *Place) (low, high []byte) {
	if start != nil && start.Table == scope.Table && string(start.User) == string(scope.User) {
		low = append(slices.Clone(start.Key), 0)
	}
	if end != nil && end.Table == scope.Table && string(end.User) == string(scope.User) {
		high = append(slices.Clone(end.Key), 0)
	}
	return low, high
}

// hotKeys hashes the keys of hot rows of a scope.
func (s *stamper) hotKeys(h hash.Hash, scope keys.RowKey, low, high []byte) (err error) {
	first, last := keys.UserTableSpan(s.group, scope.Table, scope.User)
	if low != nil {
		first = keys.Row(s.group, scope.Table, scope.User, low)
	}
	if high != nil {
		last = keys.Row(s.group, scope.Table, scope.User, high)
	}
	it, err := s.view.Scan(first, last)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		write(h, it.Key())
	}
	return it.Err()
}
