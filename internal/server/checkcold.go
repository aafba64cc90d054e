package server

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	"github.com/kalamdb/kalamdb-go/internal/storages"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// CheckedCold counts the files of cold rows that manifests name. Those in buckets are not read.
type CheckedCold struct {
	Manifests int   `json:"manifests"`
	Files     int   `json:"files"`
	Bytes     int64 `json:"bytes"`
	InBuckets int   `json:"in_buckets"`
}

// checkManifest looks whether a manifest lies where it belongs, can be decoded, and whether the files that it names are here and
// have the bytes that it says.
func (s *stateChecker) checkManifest(key, value []byte) error {
	if _, err := keys.ParseManifest(key); err != nil {
		return err
	}
	m, err := manifest.Decode(value)
	if err != nil {
		return err
	}
	s.report.Cold.Manifests++
	for _, segment := range m.GetSegments() {
		if err := s.checkSegment(segment); err != nil {
			return err
		}
	}
	return nil
}

// checkSegment compares one file with its manifest. A file that is not here is fetched when the node runs: that is damage only
// where there is nobody to fetch it from.
func (s *stateChecker) checkSegment(want *commandv1.Segment) error {
	place, ok := s.catalog.Current().Storage(want.GetStorageId())
	if !ok {
		return fmt.Errorf("segment %d is in storage '%s', which does not exist", want.GetNumber(), want.GetStorageId())
	}
	if place.Type != storages.TypeFilesystem {
		s.report.Cold.InBuckets++
		return nil
	}
	s.report.Cold.Files++
	path := s.coldPath(place, want.GetPath())
	size, sum, err := s.sumOf(path)
	where := s.relative(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.identity.ClusterID != "":
		s.note("cold", where, "the file is not here; the node fetches it from another member")
	case err != nil:
		s.damage("cold", where, err.Error())
	case size != int64(want.GetSizeBytes()) || !bytes.Equal(sum, want.GetSha256()):
		s.damage("cold", where, fmt.Sprintf("its %d bytes are not those of the manifest (%d bytes, SHA-256 %x)", size, want.GetSizeBytes(), want.GetSha256()))
	default:
		s.report.Cold.Bytes += size
	}
	return nil
}

func (s *stateChecker) coldPath(place *catalog.Storage, path string) string {
	set := storages.NewSet(storages.Config{DataPath: s.dir, FS: s.fs})
	return s.fs.PathJoin(set.Directory(place), path)
}

func (s *stateChecker) sumOf(path string) (size int64, sum []byte, err error) {
	file, err := s.fs.Open(path)
	if err != nil {
		return 0, nil, err
	}
	hash := sha256.New()
	size, err = io.Copy(hash, file)
	return size, hash.Sum(nil), errors.Join(err, file.Close())
}
