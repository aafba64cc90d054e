package cold

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"path"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
)

// dropPage bounds the files of which DropDirectory asks at once whether they may go.
const dropPage = 1000

// DropDirectory deletes the files below a directory of a storage: those that were there when still was asked behind each list of them, and that this
// cluster wrote. An error of still says that nothing may go any more. Spared is how many files others wrote.
//
// A delete may reach the storage long after still was asked. What others have written since is safe from it because no name of a segment is used
// again (flush.Worker). A manifest.json has one name for ever: it is asked about by itself, and again when it is gone. If it was that of others by then, it is written
// anew with the next look of Tend; only a delete that arrives after whoever sent it has ended leaves that to the next flush.
func (s *Store) DropDirectory(ctx context.Context, storageID, directory string, still func() error) (deleted, spared int, err error) {
	objects, err := s.Objects(storageID)
	if err != nil {
		return 0, 0, err
	}
	for after := ""; ; {
		found, err := pageAfter(ctx, objects, directory+"/", after)
		if err != nil || len(found) == 0 {
			return deleted, spared, err
		}
		if err = still(); err != nil {
			return deleted, spared, err
		}
		for _, key := range found {
			p := place{storageID, key}
			ours, err := s.ours(ctx, objects, p)
			if err == nil && ours && path.Base(key) == ManifestName {
				err = still()
			}
			if err != nil {
				return deleted, spared, err
			}
			if !ours {
				spared++
				continue
			}
			if err = objects.Delete(ctx, key); err != nil {
				return deleted, spared, err
			}
			s.forgetPlace(p)
			deleted++
			if path.Base(key) == ManifestName {
				if err = still(); err != nil {
					s.noteLost(p)
					return deleted, spared, err
				}
			}
		}
		after = found[len(found)-1]
	}
}

var errPageFull = errors.New("the page is full")

// pageAfter lists at most dropPage keys with a prefix that come after one.
func pageAfter(ctx context.Context, objects objstore.Store, prefix, after string) (found []string, err error) {
	err = objects.List(ctx, prefix, func(info objstore.ObjectInfo) error {
		if info.Key <= after {
			return nil
		}
		if found = append(found, info.Key); len(found) == dropPage {
			return errPageFull
		}
		return nil
	})
	if errors.Is(err, errPageFull) {
		err = nil
	}
	return found, err
}

// ours reports whether this cluster wrote a file. What is in the node's own directory nobody else wrote, even when it cannot be
// read any more.
func (s *Store) ours(ctx context.Context, objects objstore.Store, p place) (bool, error) {
	if p.storage == catalog.LocalStorage {
		return true, nil
	}
	info, err := objects.Stat(ctx, p.path)
	if errors.Is(err, objstore.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if path.Base(p.path) == ManifestName {
		return s.oursToo(ctx, objects, p, info.Size)
	}
	reader, err := segment.Open(&objectReader{ctx, objects, p.path}, info.Size)
	if errors.Is(err, segment.ErrDamaged) {
		return false, nil // whoever put it there knows what it is
	}
	return err == nil && reader.Owner() != "" && reader.Owner() == s.cfg.Catalog.Current().Owner(), err
}

// maxManifestBytes bounds the manifest.json that is read to know whose it is; a larger one stays.
const maxManifestBytes = 64 << 20

// oursToo reports whether this cluster wrote a manifest.json.
func (s *Store) oursToo(ctx context.Context, objects objstore.Store, p place, size int64) (bool, error) {
	owner := s.cfg.Catalog.Current().Owner()
	if size > maxManifestBytes || owner == "" {
		return false, nil
	}
	content := make([]byte, size)
	if _, err := (&objectReader{ctx, objects, p.path}).ReadAt(content, 0); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	var file manifestFile
	// Whoever put it there knows what a file is that cannot be read.
	return json.Unmarshal(content, &file) == nil && file.Cluster == owner, nil
}

// maxLost bounds the manifest.json that are to be written anew; more are left to the next flush of their scopes.
const maxLost = 1024

// noteLost remembers that this node deleted a manifest.json that it should not have: it writes it anew, whoever leads the group.
func (s *Store) noteLost(p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lost) < maxLost {
		s.lost[p] = struct{}{}
	}
}

// forgetPlace closes a file that was deleted once nobody reads it.
func (s *Store) forgetPlace(p place) {
	s.mu.Lock()
	var gone []*file
	for key, f := range s.files {
		if key.storage == p.storage && key.path == p.path {
			gone = append(gone, f)
		}
	}
	delete(s.tended, p.path) // a manifest.json is written anew when its directory has segments again
	for key := range s.kept {
		if key.storage == p.storage && key.path == p.path {
			delete(s.kept, key)
		}
	}
	s.mu.Unlock()
	for _, f := range gone {
		s.retire(f)
	}
}
