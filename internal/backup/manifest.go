package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

const (
	manifestFormat   = 2 // 1: all chunks are runs of records
	manifestPrefix   = "backups/"
	manifestSuffix   = ".json"
	maxManifestBytes = 512 << 20 // about three million chunks
	nameLayout       = "20060102T150405.000000Z"
)

// ErrNoBackup says that there is no backup at a place, or none of a name.
var ErrNoBackup = errors.New("no backup")

// Manifest is what a backup consists of.
type Manifest struct {
	Format      int           `json:"format"`
	Name        string        `json:"name"`
	ClusterID   string        `json:"cluster_id"`
	ClusterUID  string        `json:"cluster_uid"`
	Started     time.Time     `json:"started"`
	Finished    time.Time     `json:"finished"`
	Shards      Shards        `json:"shards"`
	LastTableID ident.TableID `json:"last_table_id"`
	Catalog     Group         `json:"catalog"` // of the meta group
	Groups      []Group       `json:"groups"`
	Tables      []Table       `json:"tables"` // in the order of their ids
	Totals      Totals        `json:"totals"`
}

// Shards is how the cluster was divided.
type Shards struct {
	User   uint32 `json:"user"`
	Shared uint32 `json:"shared"`
}

// Group is what a backup holds of one group.
type Group struct {
	Group   shard.GroupID `json:"group"`
	Name    string        `json:"name"`
	Applied uint64        `json:"applied_index"` // what is in the group up to this index is in the backup
	Chunks  []*Chunk      `json:"chunks"`
}

// Table sums up a table.
type Table struct {
	ID   ident.TableID `json:"id"`
	Name string        `json:"name"`
	Digest
}

// Totals are the sizes of a backup.
type Totals struct {
	Rows         uint64 `json:"rows"`
	Bytes        int64  `json:"bytes"`
	StoredBytes  int64  `json:"stored_bytes"`
	WrittenBytes int64  `json:"written_bytes"`          // of the stored ones, those that were not there before
	UnreadBytes  int64  `json:"unread_bytes,omitempty"` // of all, those whose rows were not read, because an earlier backup has them
	Chunks       int    `json:"chunks"`
	NewChunks    int    `json:"new_chunks"`
}

func (t Totals) readBytes() int64 { return t.Bytes - t.UnreadBytes }

// envelope is a manifest with its checksum.
type envelope struct {
	SHA256   string          `json:"sha256"` // of the bytes of the manifest as they stand here
	Manifest json.RawMessage `json:"manifest"`
}

func manifestKey(name string) string { return manifestPrefix + name + manifestSuffix }

// write stores a manifest, which makes the backup.
func (m *Manifest) write(ctx context.Context, store objstore.Store) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write manifest %s: %w", m.Name, err)
	}
	data, err := json.Marshal(envelope{SHA256: sumOf(body), Manifest: body})
	if err != nil {
		return fmt.Errorf("write manifest %s: %w", m.Name, err)
	}
	_, err = store.Put(ctx, manifestKey(m.Name), bytes.NewReader(data), int64(len(data)), objstore.PutOptions{IfNotExists: true})
	return err
}

// manifest reads a manifest and checks it.
func (r *reader) manifest(ctx context.Context, name string) (*Manifest, error) {
	data, err := r.object(ctx, manifestKey(name), maxManifestBytes)
	if errors.Is(err, objstore.ErrNotFound) || errors.Is(err, objstore.ErrInvalidKey) {
		return nil, fmt.Errorf("%w of the name '%s'", ErrNoBackup, name)
	}
	if err != nil {
		return nil, err
	}
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("%w: manifest %s: %w", errMalformed, name, err)
	}
	if got := sumOf(e.Manifest); got != e.SHA256 {
		return nil, fmt.Errorf("%w: manifest %s has the hash %s and says %s", errMalformed, name, got, e.SHA256)
	}
	m := &Manifest{}
	if err := json.Unmarshal(e.Manifest, m); err != nil {
		return nil, fmt.Errorf("%w: manifest %s: %w", errMalformed, name, err)
	}
	if m.Format < 1 || m.Format > manifestFormat {
		return nil, fmt.Errorf("manifest %s has format %d, this program reads 1 to %d", name, m.Format, manifestFormat)
	}
	if m.Name != name {
		return nil, fmt.Errorf("%w: manifest %s is the one of %s", errMalformed, name, m.Name)
	}
	return m, nil
}

// List returns the names of the backups at a place, the oldest first.
func List(ctx context.Context, store objstore.Store) ([]string, error) {
	var names []string
	err := store.List(ctx, manifestPrefix, func(info objstore.ObjectInfo) error {
		name, ok := strings.CutSuffix(strings.TrimPrefix(info.Key, manifestPrefix), manifestSuffix)
		if ok && !strings.Contains(name, "/") {
			names = append(names, name)
		}
		return nil
	})
	return names, err // the names are times, so their order is that of time
}

// Load reads the manifest of a backup; an empty name is the newest one.
func Load(ctx context.Context, store objstore.Store, name string) (*Manifest, error) {
	r, err := newReader(store)
	if err != nil {
		return nil, err
	}
	defer r.close()
	return r.load(ctx, name)
}

func (r *reader) load(ctx context.Context, name string) (*Manifest, error) {
	if name != "" {
		return r.manifest(ctx, name)
	}
	names, err := List(ctx, r.store)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, ErrNoBackup
	}
	return r.manifest(ctx, names[len(names)-1])
}
