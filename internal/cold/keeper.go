package cold

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// ManifestName is the file in which a scope's manifest is written for readers outside. Nothing here reads it.
const ManifestName = "manifest.json"

// Scope is one manifest with whose it is.
type Scope struct {
	Group    shard.GroupID
	Table    *schema.Table
	User     ident.UserID
	Manifest *commandv1.Manifest
}

// Scopes lists the scopes of groups that have segments, as far as a picture of the store shows them. Tables that are
// dropped are left out.
func Scopes(current *catalog.Catalog, reader storage.Reader, groups []shard.GroupID) (found []Scope, err error) {
	for _, group := range groups {
		lo, hi := keys.ManifestsSpan(group)
		err := manifest.Each(reader, lo, hi, func(key []byte, m *commandv1.Manifest) error {
			scope, err := keys.ParseManifest(key)
			if t, ok := current.TableByID(scope.Table); ok && err == nil {
				found = append(found, Scope{group, t, scope.User, m})
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("manifests of %s: %w", group, err)
		}
	}
	return found, nil
}

// Tend brings this node's storages in line with the manifests: files that are missing, because the node was away when they
// were written or lost its disk, are fetched, and manifests are written beside them. What fails is tried again with the
// next call.
func (s *Store) Tend(ctx context.Context, scopes []Scope) error {
	var failed error
	for i := range scopes {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = errors.Join(failed, s.tend(ctx, &scopes[i]))
	}
	return failed
}

func (s *Store) tend(ctx context.Context, scope *Scope) error {
	segments := scope.Manifest.GetSegments()
	if len(segments) == 0 {
		return nil
	}
	var failed error
	for _, wanted := range segments {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := s.tendFile(ctx, wanted); err != nil {
			failed = errors.Join(failed, fmt.Errorf("segment %s of storage '%s': %w", wanted.GetPath(), wanted.GetStorageId(), err))
		}
	}
	return errors.Join(failed, s.tendManifest(ctx, scope))
}

// tended tells a manifest of a scope from others, also of one that lay in the same directory before it.
type tended struct {
	version uint64
	last    string // its last file
}

// tendManifest writes the manifest of a scope beside its last segment, unless it is there.
func (s *Store) tendManifest(ctx context.Context, scope *Scope) error {
	segments := scope.Manifest.GetSegments()
	last := segments[len(segments)-1]
	name := path.Dir(last.GetPath()) + "/" + ManifestName
	at := place{last.GetStorageId(), name}
	s.mu.Lock()
	written := s.tended[name] == tended{scope.Manifest.GetVersion(), last.GetPath()}
	_, lost := s.lost[at]
	s.mu.Unlock()
	if written {
		return nil
	}
	content, err := scope.JSON(s.cfg.Catalog.Current().Owner())
	if err != nil {
		return err
	}
	shared, err := s.Shared(last.GetStorageId())
	if err != nil {
		return err
	}
	leads := !shared || s.cfg.Leads(scope.Group)
	if !leads && !lost {
		return nil
	}
	objects, err := s.Objects(last.GetStorageId())
	if err != nil {
		return err
	}
	// What the leader wrote meanwhile is no older.
	_, err = objects.Put(ctx, name, bytes.NewReader(content), int64(len(content)), objstore.PutOptions{IfNotExists: !leads})
	if err != nil && !errors.Is(err, objstore.ErrExists) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lost, at)
	s.tended[name] = tended{scope.Manifest.GetVersion(), last.GetPath()}
	return nil
}

// tendFile looks at a file once in the life of the process: damage that comes later is found by whoever reads it.
func (s *Store) tendFile(ctx context.Context, wanted *commandv1.Segment) error {
	key := keyOf(wanted)
	s.mu.Lock()
	_, kept := s.kept[key]
	s.mu.Unlock()
	if kept {
		return nil
	}
	if shared, err := s.Shared(key.storage); shared || err != nil {
		return err
	}
	if s.cfg.Peers == nil {
		return nil // a read says what is missing; there is nobody to fetch it from
	}
	size := int64(wanted.GetSizeBytes()) //nolint:gosec // the size of a file
	found, err := s.here(key, size)
	if err == nil && !found {
		err = s.fetch(ctx, key, size)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[key] = struct{}{}
	return nil
}

// The form of manifest.json is that of other servers.
type manifestFile struct {
	TableID       string                     `json:"table_id"`
	UserID        string                     `json:"user_id,omitempty"`
	Cluster       string                     `json:"cluster,omitempty"` // who wrote it, and may delete it
	Version       uint64                     `json:"version"`
	CreatedAt     string                     `json:"created_at"`
	UpdatedAt     string                     `json:"updated_at"`
	Segments      []manifestSegment          `json:"segments"`
	LastSequence  uint64                     `json:"last_sequence_number"`
	VectorIndexes map[string]json.RawMessage `json:"vector_indexes"`
}

type manifestSegment struct {
	ID            string                   `json:"id"`
	Path          string                   `json:"path"`
	MinSeq        uint64                   `json:"min_seq"`
	MaxSeq        uint64                   `json:"max_seq"`
	Rows          uint64                   `json:"row_count"`
	SizeBytes     uint64                   `json:"size_bytes"`
	CreatedAt     string                   `json:"created_at"`
	ColumnStats   map[string]manifestStats `json:"column_stats"`
	SchemaVersion uint32                   `json:"schema_version"`
	Status        string                   `json:"status"`
	SHA256        string                   `json:"sha256"`
}

type manifestStats struct {
	Min   map[string]string `json:"min"`
	Max   map[string]string `json:"max"`
	Nulls uint64            `json:"null_count"`
}

// JSON is the manifest for readers outside, written by a cluster.
func (s *Scope) JSON(owner string) ([]byte, error) {
	m := s.Manifest
	file := manifestFile{
		TableID: s.Table.FullName(), UserID: string(s.User), Cluster: owner, Version: m.GetVersion(), CreatedAt: instant(m.GetCreatedMicros()),
		UpdatedAt: instant(m.GetUpdatedMicros()), Segments: []manifestSegment{}, VectorIndexes: map[string]json.RawMessage{},
	}
	for _, found := range m.GetSegments() {
		listed := manifestSegment{
			ID: strconv.FormatUint(found.GetNumber(), 10), Path: path.Base(found.GetPath()), MinSeq: found.GetMinSeq(), MaxSeq: found.GetMaxSeq(),
			Rows: found.GetRows(), SizeBytes: found.GetSizeBytes(), CreatedAt: instant(found.GetCreatedMicros()),
			ColumnStats: map[string]manifestStats{}, SchemaVersion: found.GetSchemaVersion(), Status: "committed",
			SHA256: hex.EncodeToString(found.GetSha256()),
		}
		for _, column := range found.GetColumns() {
			stats := manifestStats{Nulls: column.GetNulls()}
			var err error
			if stats.Min, err = bound(column.GetMin()); err != nil {
				return nil, err
			}
			if stats.Max, err = bound(column.GetMax()); err != nil {
				return nil, err
			}
			listed.ColumnStats[strconv.FormatUint(uint64(column.GetId()), 10)] = stats
		}
		file.LastSequence = max(file.LastSequence, found.GetMaxSeq())
		file.Segments = append(file.Segments, listed)
	}
	return json.MarshalIndent(file, "", "  ")
}

func instant(micros int64) string { return time.UnixMicro(micros).UTC().Format(time.RFC3339Nano) }

// bound prints a bound of a column as {"Int64":"5"}; nil when it is unknown.
func bound(encoded []byte) (map[string]string, error) {
	if len(encoded) == 0 {
		return nil, nil
	}
	value, _, err := datum.DecodeValue(encoded)
	if err != nil {
		return nil, fmt.Errorf("bound of a column: %w", err)
	}
	name := "Utf8"
	switch value.Kind() { //nolint:exhaustive // the others are printed as text
	case datum.Boolean:
		name = "Boolean"
	case datum.SmallInt:
		name = "Int16"
	case datum.Int:
		name = "Int32"
	case datum.BigInt:
		name = "Int64"
	case datum.Float:
		name = "Float32"
	case datum.Double:
		name = "Float64"
	}
	return map[string]string{name: value.String()}, nil
}
