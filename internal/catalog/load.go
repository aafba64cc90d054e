package catalog

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Names of the sequences under keys.Sequence. Their values are 8 bytes, big-endian.
const (
	SequenceIndex   = "index"   // the picture's index
	SequenceReplica = "replica" // the highest replica id that was handed out
	// SequenceTableBase is added to the index that makes a table's id: the highest id of a backup that was restored.
	SequenceTableBase = "table_base"
	SequenceRestoring = "restoring" // RestoreMark of the backup that is being restored; zero for none
	// SequenceRestoredBy is the number of the job that restored a backup to the end; zero for none.
	SequenceRestoredBy = "restored_by"
)

// Load builds the picture that the meta group's keys describe.
func Load(reader storage.Reader) (*Catalog, error) {
	c := &Catalog{}
	for _, part := range []struct {
		name string
		load func(storage.Reader) error
	}{
		{"sequences", c.loadSequences},
		{"cluster", c.loadCluster},
		{"members", c.loadMembers},
		{"namespaces", c.loadNamespaces},
		{"tables", c.loadTables},
		{"users", c.loadUsers},
		{"cleanups", c.loadCleanups},
		{"storages", c.loadStorages},
		{"views", c.loadViews},
	} {
		if err := part.load(reader); err != nil {
			return nil, fmt.Errorf("load %s: %w", part.name, err)
		}
	}
	return c, nil
}

func (c *Catalog) loadSequences(reader storage.Reader) error {
	index, err := LoadSequence(reader, SequenceIndex)
	if err != nil {
		return err
	}
	replica, err := LoadSequence(reader, SequenceReplica)
	c.index, c.lastReplica = index, ident.ReplicaID(replica)
	return err
}

// LoadSequence returns a sequence's last number, zero when it was never used.
func LoadSequence(reader storage.Reader, name string) (uint64, error) {
	value, ok, err := reader.Get(keys.Sequence(name))
	if err != nil || !ok {
		return 0, err
	}
	if len(value) != 8 {
		return 0, fmt.Errorf("%w: sequence %s has %d bytes", errMalformed, name, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

func (c *Catalog) loadCluster(reader storage.Reader) error {
	value, ok, err := reader.Get(keys.Cluster())
	if err != nil || !ok {
		return err
	}
	c.cluster, err = unmarshalCluster(value)
	return err
}

func (c *Catalog) loadMembers(reader storage.Reader) error {
	sorted, err := loadKind(reader, keys.KindMember, MemberFromProto, func(m *Member) []byte { return keys.Member(m.Replica) })
	c.members = treeOf(sorted, func(m *Member) ident.ReplicaID { return m.Replica })
	for _, m := range sorted {
		if c.cluster == nil && len(m.Lost) > 0 || c.cluster != nil && len(m.Lost) != len(c.cluster.Lost) {
			return fmt.Errorf("%w: of member %d %d lost clusters are known", errMalformed, m.Replica, len(m.Lost))
		}
	}
	return err
}

func (c *Catalog) loadNamespaces(reader storage.Reader) error {
	sorted, err := loadKind(reader, keys.KindNamespace, func(p *commandv1.Namespace) (*Namespace, error) {
		return NamespaceFromProto(p), nil
	}, func(n *Namespace) []byte { return keys.Namespace(n.Name) })
	c.namespaces = treeOf(sorted, func(n *Namespace) string { return n.Name })
	return err
}

func (c *Catalog) loadTables(reader storage.Reader) error {
	sorted, err := loadKind(reader, keys.KindTable, TableFromProto, func(t *schema.Table) []byte { return keys.Table(t.ID) })
	c.tables = treeOf(sorted, func(t *schema.Table) ident.TableID { return t.ID })
	for _, t := range sorted {
		c.tableNames = c.tableNames.set(tableName(t.Namespace, t.Name), t)
	}
	return err
}

func (c *Catalog) loadStorages(reader storage.Reader) error {
	sorted, err := loadKind(reader, keys.KindStorage, StorageFromProto, func(s *Storage) []byte { return keys.Storage(s.ID) })
	c.storages = treeOf(sorted, func(s *Storage) string { return s.ID })
	return err
}

func (c *Catalog) loadViews(reader storage.Reader) error {
	sorted, err := loadKind(reader, keys.KindView, ViewFromProto, func(v *View) []byte {
		return keys.View(v.Table.Namespace, v.Table.Name)
	})
	c.views = treeOf(sorted, func(v *View) string { return tableName(v.Table.Namespace, v.Table.Name) })
	return err
}

func (c *Catalog) loadUsers(reader storage.Reader) error {
	sorted, err := loadKind(reader, keys.KindUser, UserFromProto, func(u *User) []byte { return keys.User(u.ID) })
	c.users = treeOf(sorted, func(u *User) ident.UserID { return u.ID })
	for _, u := range sorted {
		if u.Deleted() {
			c.deleted++
		}
	}
	return err
}

func (c *Catalog) loadCleanups(reader storage.Reader) error {
	sorted, err := loadKind(reader, keys.KindCleanup, func(p *commandv1.Table) (*Cleanup, error) {
		t, err := TableFromProto(p)
		if err != nil {
			return nil, err
		}
		return &Cleanup{Table: t, DroppedMicros: t.UpdatedMicros}, nil
	}, func(c *Cleanup) []byte { return keys.Cleanup(c.Table.ID) })
	c.cleanups = treeOf(sorted, func(cleanup *Cleanup) ident.TableID { return cleanup.Table.ID })
	return err
}

// loadKind reads all records of a kind, in key order. A record that names another key than its own is
// refused: it was misdirected.
func loadKind[P any, M interface {
	*P
	proto.Message
}, V any](reader storage.Reader, kind keys.Kind, convert func(M) (V, error), keyOf func(V) []byte) ([]V, error) {
	lo, hi := keys.MetaSpan(kind)
	return loadSpan(reader, lo, hi, convert, keyOf)
}

// loadSpan is loadKind for the keys of a span.
func loadSpan[P any, M interface {
	*P
	proto.Message
}, V any](reader storage.Reader, lo, hi []byte, convert func(M) (V, error), keyOf func(V) []byte) ([]V, error) {
	it, err := reader.Scan(lo, hi)
	if err != nil {
		return nil, err
	}
	var list []V
	for ok := it.First(); ok; ok = it.Next() {
		v, readErr := loadRecord(it, convert, keyOf)
		if readErr != nil {
			readErr = fmt.Errorf("key %x: %w", it.Key(), readErr)
			_ = it.Close() // the first error is the one that matters
			return nil, readErr
		}
		list = append(list, v)
	}
	return list, it.Close()
}

func loadRecord[P any, M interface {
	*P
	proto.Message
}, V any](it *storage.Iterator, convert func(M) (V, error), keyOf func(V) []byte) (v V, err error) {
	value, err := it.Value()
	if err != nil {
		return v, err
	}
	record := M(new(P))
	if err = unmarshal(value, record); err != nil {
		return v, err
	}
	if v, err = convert(record); err != nil {
		return v, err
	}
	if !bytes.Equal(it.Key(), keyOf(v)) {
		return v, fmt.Errorf("%w: it holds the record of key %x", errMalformed, keyOf(v))
	}
	return v, nil
}
