package cold

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// fetch brings a file that a manifest names, in place of what is here. The other members are asked in turn until what one
// of them sent is the right file: one that has a damaged copy does not hide another that has a good one.
func (s *Store) fetch(ctx context.Context, key fileKey, size int64) error {
	if s.cfg.Peers == nil {
		return fmt.Errorf("%w: there is no other member to fetch it from", ErrMissing)
	}
	failed := fmt.Errorf("%w: no other member has it", ErrMissing)
	for _, peer := range s.cfg.Peers() {
		patient, cancel := context.WithTimeout(ctx, s.cfg.FetchPatience)
		err := s.fetchFrom(patient, peer, key, size, objstore.PutOptions{})
		cancel()
		if err == nil {
			return nil
		}
		failed = errors.Join(failed, err)
	}
	unavailable := fault.New(fault.Unavailable, "cold rows of the table are not on this node, and no other member sends them; try again later: %w", failed)
	unavailable.RetryAfter = time.Second
	return unavailable
}

// fetchFrom brings a file from a peer into a storage of this node, unless what came is wrong.
func (s *Store) fetchFrom(ctx context.Context, peer Peer, key fileKey, size int64, options objstore.PutOptions) error {
	objects, err := s.Objects(key.storage)
	if err != nil {
		return err
	}
	content := &checked{size: size, sum: sha256.New(), key: key}
	from, to := io.Pipe()
	done := make(chan error, 1)
	go func() {
		ended := peer.Fetch(ctx, key.storage, key.path, to)
		_ = to.CloseWithError(ended) // never fails
		done <- ended
	}()
	content.from = from
	_, err = objects.Put(ctx, key.path, content, size, options)
	_ = from.CloseWithError(errors.New("the file is complete")) // never fails; ends a peer that sends more
	fetching := <-done
	if err != nil {
		return fmt.Errorf("%w: fetch it: %w", ErrMissing, errors.Join(err, fetching))
	}
	return nil
}

// checked passes a file on and fails at its end when it was not the right one, so that it is never seen.
type checked struct {
	from io.Reader
	sum  interface {
		io.Writer
		Sum(into []byte) []byte
	}
	size, read int64
	key        fileKey
}

// Read implements io.Reader.
func (c *checked) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	_, _ = c.sum.Write(p[:n]) // a hash cannot fail
	c.read += int64(n)
	if c.read >= c.size && (c.read > c.size || !bytes.Equal(c.sum.Sum(nil), c.key.sha256[:])) {
		return 0, fmt.Errorf("%w: what came is not the file of the manifest", segment.ErrDamaged)
	}
	return n, err
}

// Read writes a segment that lies here to a writer, whatever it holds: who asks compares it with the manifest.
func (s *Store) Read(ctx context.Context, storageID, path string, to io.Writer) error {
	if !strings.HasSuffix(path, ".parquet") {
		return fmt.Errorf("%s is no segment", path)
	}
	objects, err := s.Objects(storageID)
	if err != nil {
		return err
	}
	from, err := objects.Get(ctx, path, 0, -1)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, from, make([]byte, 256<<10))
	return errors.Join(err, from.Close())
}

// Keep makes a file be here that no manifest names yet, fetched from a peer when it is missing. Another file of that name
// stays, because a manifest may name it or be about to: the error is ErrTaken.
func (s *Store) Keep(ctx context.Context, from Peer, storageID, path string, sum []byte, size int64) error {
	if !strings.HasSuffix(path, ".parquet") {
		return fmt.Errorf("%s is no segment", path)
	}
	key := fileKey{storage: storageID, path: path}
	copy(key.sha256[:], sum)
	// Whoever wants it kept is about to name it, however long it was an orphan; noted first, so that it cannot go in between.
	if err := s.want(place{storageID, path}); err != nil {
		return err
	}
	found, err := s.here(key, size)
	if err != nil || found {
		return err
	}
	err = s.fetchFrom(ctx, from, key, size, objstore.PutOptions{IfNotExists: true})
	if !errors.Is(err, objstore.ErrExists) {
		return err
	}
	if found, err = s.here(key, size); err == nil && !found { // it came meanwhile
		err = fmt.Errorf("%w: %s", ErrTaken, path)
	}
	return err
}

// here reports whether a file is here and is the right one.
func (s *Store) here(key fileKey, size int64) (bool, error) {
	directory, err := s.directory(key.storage)
	if err != nil {
		return false, err
	}
	handle, err := s.openChecked(s.cfg.FS.PathJoin(directory, key.path), &file{key: key, size: size})
	switch {
	case errors.Is(err, ErrMissing) || errors.Is(err, segment.ErrDamaged):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, handle.Close()
}

// Ensure makes a segment's file be here, fetched if need be, and right. Of one in a bucket it reads what the file says of
// itself.
func (s *Store) Ensure(wanted *commandv1.Segment) error {
	shared, err := s.Shared(wanted.GetStorageId())
	if err != nil {
		return err
	}
	if !shared {
		s.suspect(keyOf(wanted))
		s.mu.Lock()
		open := s.files[keyOf(wanted)]
		s.mu.Unlock()
		if open != nil {
			s.retire(open) // a file is checked as a whole when it is opened
		}
	}
	f, err := s.acquire(wanted)
	if err != nil {
		return err
	}
	s.release(f)
	return nil
}
