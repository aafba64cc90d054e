package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storages"
)

// storageProber implements exec.StorageProber.
type storageProber struct {
	set   *storages.Set
	clock clock.Clock
}

const (
	probeContent = "kalamdb storage check"
	probePrefix  = "kalamdb-check-"
	probeLimit   = 15 * time.Second // a store that answers no sooner is unreachable
)

// Seal implements exec.StorageProber.
func (p storageProber) Seal(id, credentials string) (string, error) {
	return p.set.Seal(id, credentials)
}

// Probe implements exec.StorageProber. Extended also tries what only some servers of S3 can: to create an object once,
// and to read a part of one.
func (p storageProber) Probe(ctx context.Context, storage *catalog.Storage, extended bool) exec.StorageReport {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	var report exec.StorageReport
	started := p.clock.Now()
	note := func(done *bool, what string, err error) {
		if done != nil {
			*done = err == nil
		}
		if err != nil && report.Error == "" {
			report.Error = fmt.Sprintf("%s: %v", what, reason(err))
		}
	}
	store, err := p.set.Try(storage)
	if err != nil {
		note(&report.Writable, "open the storage", err)
		return report
	}
	if closer, ok := store.(interface{ Close() }); ok {
		defer closer.Close()
	}
	var word [8]byte
	if _, err = rand.Read(word[:]); err != nil {
		note(&report.Writable, "make a name", err)
		return report
	}
	key := probePrefix + hex.EncodeToString(word[:])
	put := func(opts objstore.PutOptions) error {
		_, err := store.Put(ctx, key, strings.NewReader(probeContent), int64(len(probeContent)), opts)
		return err
	}
	note(&report.Listable, "list", store.List(ctx, key, func(objstore.ObjectInfo) error { return nil }))
	note(&report.Writable, "write", put(objstore.PutOptions{}))
	if report.Writable {
		note(&report.Readable, "read", readBack(ctx, store, key, 0, probeContent))
		if extended {
			note(nil, "read a part", readBack(ctx, store, key, 8, probeContent[8:]))
			err := put(objstore.PutOptions{IfNotExists: true})
			if err == nil {
				err = errors.New("the store replaced it; it does not know If-None-Match")
			}
			if !errors.Is(err, objstore.ErrExists) {
				note(nil, "create what is there", err)
			}
		}
		note(&report.Deletable, "delete", store.Delete(ctx, key))
	}
	report.LatencyMillis = p.clock.Now().Sub(started).Round(time.Millisecond).Milliseconds()
	if extended && storage.Type == storages.TypeFilesystem {
		report.TotalBytes, report.UsedBytes = room(p.set.Directory(storage))
	}
	return report
}

func readBack(ctx context.Context, store objstore.Store, key string, offset int64, want string) error {
	body, err := store.Get(ctx, key, offset, -1)
	if err != nil {
		return err
	}
	content, err := io.ReadAll(io.LimitReader(body, int64(len(want))+1))
	if err = errors.Join(err, body.Close()); err == nil && !bytes.Equal(content, []byte(want)) {
		err = errors.New("it does not read back what was written")
	}
	return err
}

// reason leaves out the path of an error, which the caller knows and the name of a temporary file would bury.
func reason(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

// room measures the file system under a directory; nil when it cannot be known.
func room(directory string) (total, used *int64) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(directory, &stat); err != nil {
		return nil, nil
	}
	size := int64(stat.Blocks) * int64(stat.Bsize)      //nolint:unconvert // of 32 bits on other systems
	taken := size - int64(stat.Bfree)*int64(stat.Bsize) //nolint:unconvert // as above
	return &size, &taken
}
