package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// storageProber implements exec.StorageProber for directories.
type storageProber struct {
	dataPath string
	clock    clock.Clock
}

const probeContent = "kalamdb storage check"

// directory is where a storage lies on this node.
func (p storageProber) directory(storage *catalog.Storage) string {
	if storage.BaseDirectory == "" {
		return filepath.Join(p.dataPath, "storage")
	}
	return storage.BaseDirectory
}

// Probe implements exec.StorageProber.
func (p storageProber) Probe(_ context.Context, storage *catalog.Storage, extended bool) exec.StorageReport {
	var report exec.StorageReport
	started := p.clock.Now()
	note := func(done *bool, what string, err error) {
		*done = err == nil
		if err != nil && report.Error == "" {
			report.Error = fmt.Sprintf("%s: %v", what, reason(err))
		}
	}
	directory := p.directory(storage)
	if err := os.MkdirAll(directory, 0o750); err != nil {
		note(&report.Writable, "make the directory", err)
		return report
	}
	_, err := os.ReadDir(directory)
	note(&report.Listable, "list the directory", err)
	file, err := os.CreateTemp(directory, ".check-*")
	if err == nil {
		_, writeErr := file.WriteString(probeContent)
		err = errors.Join(writeErr, file.Close())
	}
	note(&report.Writable, "write a file", err)
	if file != nil {
		content, err := os.ReadFile(file.Name())
		if err == nil && string(content) != probeContent {
			err = errors.New("it does not read back what was written")
		}
		note(&report.Readable, "read a file", err)
		note(&report.Deletable, "delete a file", os.Remove(file.Name()))
	}
	report.LatencyMillis = p.clock.Now().Sub(started).Round(time.Millisecond).Milliseconds()
	if extended {
		report.TotalBytes, report.UsedBytes = room(directory)
	}
	return report
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
	size := int64(stat.Blocks) * stat.Bsize
	taken := size - int64(stat.Bfree)*stat.Bsize
	return &size, &taken
}
