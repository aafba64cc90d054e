package objstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// Bounds of a directory store.
const (
	// maxDirBytes is the largest object of a directory; a file system says earlier that it is full.
	maxDirBytes = 1 << 50
	// maxEntries is how many names one directory may have to be listed. Names are read at once, to sort them.
	maxEntries = 1 << 20
	// temporary is the directory, in the root, of files that are being written. No key begins with a dot.
	temporary = ".tmp"
	// putTries is how often a Put makes its directory anew when a Delete removes it, being empty.
	putTries = 8
)

// Dir is a store in a directory: the path below the root is the key. A file is written under a temporary name, synced,
// and renamed; then its directory is synced. Symbolic links in the directory are followed: who can
// make them owns it.
type Dir struct {
	fs   disk.FS
	root string
}

// OpenDir opens the store in a directory, which is made when it is not there.
func OpenDir(files disk.FS, root string) (*Dir, error) {
	d := &Dir{fs: files, root: root}
	if err := files.MkdirAll(files.PathJoin(root, temporary), 0o750); err != nil {
		return nil, fmt.Errorf("open object directory %s: %w", root, err)
	}
	for dir := root; ; dir = files.PathDir(dir) {
		if err := disk.SyncDir(files, dir); err != nil && !errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("open object directory %s: %w", root, err)
		}
		if above := files.PathDir(dir); above == dir || dir == "." {
			return d, nil
		}
	}
}

// Put implements Store.
func (d *Dir) Put(ctx context.Context, key string, body io.Reader, size int64, opts PutOptions) (ObjectInfo, error) {
	if err := CheckKey(key); err != nil {
		return ObjectInfo{}, err
	}
	info, err := d.put(ctx, key, body, size, opts)
	if err != nil {
		return ObjectInfo{}, fmt.Errorf("put object %s: %w", key, err)
	}
	return info, nil
}

func (d *Dir) put(ctx context.Context, key string, body io.Reader, size int64, opts PutOptions) (ObjectInfo, error) {
	if opts.IfNotExists {
		// The link below decides; this saves the work.
		if _, err := d.Stat(ctx, key); err == nil {
			return ObjectInfo{}, ErrExists
		}
	}
	var name [16]byte
	if _, err := rand.Read(name[:]); err != nil {
		return ObjectInfo{}, err
	}
	tmp := d.fs.PathJoin(d.root, temporary, hex.EncodeToString(name[:]))
	stat, err := d.write(ctx, tmp, body, size)
	if err == nil {
		err = d.publish(tmp, key, opts.IfNotExists)
	}
	if err != nil {
		_ = d.fs.Remove(tmp) // the first error is the one that matters; Sweep finds what is left
		return ObjectInfo{}, err
	}
	return describe(key, stat.Size(), stat.ModTime()), nil
}

func (d *Dir) write(ctx context.Context, tmp string, body io.Reader, size int64) (stat fs.FileInfo, err error) {
	file, err := d.fs.Create(tmp, disk.Category)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	if _, err := copyExactly(ctx, file, body, size, maxDirBytes); err != nil {
		return nil, err
	}
	if err := file.Sync(); err != nil {
		return nil, err
	}
	return file.Stat()
}

// publish gives a synced file its name, durably. All directories above are synced, whoever made them: that they are there
// does not say that they are durable.
func (d *Dir) publish(tmp, key string, ifNotExists bool) error {
	final := d.path(key)
	var err error
	for range putTries {
		err = d.fs.MkdirAll(d.fs.PathDir(final), 0o750)
		if errors.Is(err, fs.ErrExist) { // somebody made it first, and a Delete removed it before it was looked at
			err = fmt.Errorf("make the directory of %s: %w", key, fs.ErrNotExist)
		}
		switch {
		case err != nil:
		case ifNotExists:
			err = d.fs.Link(tmp, final) // fails when there is a file, in one step
		default:
			err = d.fs.Rename(tmp, final)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break // otherwise a Delete removed the empty directory in between
		}
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return ErrExists
	case err != nil:
		return err
	}
	if ifNotExists {
		if err := d.fs.Remove(tmp); err != nil {
			return err
		}
	}
	for dir := path.Dir(key); ; dir = path.Dir(dir) {
		if err := disk.SyncDir(d.fs, d.path(dir)); err != nil || dir == "." {
			return err
		}
	}
}

// Get implements Store.
func (d *Dir) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fmt.Errorf("get object %s: the offset %d is negative", key, offset)
	}
	file, err := d.fs.Open(d.path(key))
	if err != nil {
		return nil, fmt.Errorf("get object %s: %w", key, found(err))
	}
	stat, err := file.Stat()
	if err == nil && stat.IsDir() {
		err = ErrNotFound
	}
	if err != nil {
		_ = file.Close() // it was only read
		return nil, fmt.Errorf("get object %s: %w", key, found(err))
	}
	rest := max(stat.Size()-offset, 0)
	if length >= 0 {
		rest = min(rest, length)
	}
	return &fileRange{ctx: ctx, section: io.NewSectionReader(file, offset, rest), file: file}, nil
}

// fileRange reads a part of a file until its context ends.
type fileRange struct {
	ctx     context.Context //nolint:containedctx // Get promises that its context governs the reading
	section *io.SectionReader
	file    disk.File
}

func (r *fileRange) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.section.Read(p)
}

func (r *fileRange) Close() error { return r.file.Close() }

// Stat implements Store.
func (d *Dir) Stat(_ context.Context, key string) (ObjectInfo, error) {
	if err := CheckKey(key); err != nil {
		return ObjectInfo{}, err
	}
	stat, err := d.fs.Stat(d.path(key))
	if err == nil && stat.IsDir() {
		err = ErrNotFound
	}
	if err != nil {
		return ObjectInfo{}, fmt.Errorf("stat object %s: %w", key, found(err))
	}
	return describe(key, stat.Size(), stat.ModTime()), nil
}

func describe(key string, size int64, modified time.Time) ObjectInfo {
	etag := strconv.FormatInt(modified.UnixNano(), 16) + "-" + strconv.FormatInt(size, 16)
	return ObjectInfo{Key: key, Size: size, ETag: etag, Modified: modified}
}

// List implements Store.
func (d *Dir) List(ctx context.Context, prefix string, fn func(ObjectInfo) error) error {
	if err := checkPrefix(prefix); err != nil {
		return err
	}
	dir := ""
	if at := strings.LastIndexByte(prefix, '/'); at >= 0 {
		dir = prefix[:at]
	}
	if err := d.walk(ctx, dir, prefix, fn); err != nil {
		return fmt.Errorf("list objects %s*: %w", prefix, err)
	}
	return nil
}

// walk lists the objects below a directory. The order of keys is the order of names in which those of directories end with a slash.
func (d *Dir) walk(ctx context.Context, dir, prefix string, fn func(ObjectInfo) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	names, err := d.fs.List(d.path(dir))
	if errors.Is(found(err), ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(names) > maxEntries {
		return fmt.Errorf("directory %q has %d entries, %d can be listed", dir, len(names), maxEntries)
	}
	entries := make([]ObjectInfo, 0, len(names))
	for _, name := range names {
		key := path.Join(dir, name)
		if name[0] == '.' || !strings.HasPrefix(key, prefix) && !strings.HasPrefix(prefix, key+"/") {
			continue
		}
		stat, statErr := d.fs.Stat(d.path(key))
		switch {
		case errors.Is(statErr, fs.ErrNotExist):
		case statErr != nil:
			return statErr
		case stat.IsDir():
			entries = append(entries, ObjectInfo{Key: key + "/"})
		default:
			entries = append(entries, describe(key, stat.Size(), stat.ModTime()))
		}
	}
	slices.SortFunc(entries, func(a, b ObjectInfo) int { return strings.Compare(a.Key, b.Key) })
	for _, entry := range entries {
		if below, isDir := strings.CutSuffix(entry.Key, "/"); isDir {
			err = d.walk(ctx, below, prefix, fn)
		} else {
			err = fn(entry)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Delete implements Store.
func (d *Dir) Delete(_ context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	name := d.path(key)
	if stat, err := d.fs.Stat(name); err != nil || stat.IsDir() {
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(found(err), ErrNotFound) {
			return nil
		}
		return fmt.Errorf("delete object %s: %w", key, err)
	}
	if err := d.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete object %s: %w", key, err)
	}
	if err := disk.SyncDir(d.fs, d.fs.PathDir(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete object %s: %w", key, err)
	}
	// A directory of a user or table that is gone bears a name that should be gone too.
	for dir := path.Dir(key); dir != "."; dir = path.Dir(dir) {
		if !d.removeEmpty(dir) {
			break
		}
	}
	return nil
}

// removeEmpty removes a directory unless it holds something, or somebody else was faster.
func (d *Dir) removeEmpty(dir string) bool { return d.fs.Remove(d.path(dir)) == nil }

// Sweep implements Sweeper.
func (d *Dir) Sweep(_ context.Context, before time.Time) (int, error) {
	dir := d.fs.PathJoin(d.root, temporary)
	names, err := d.fs.List(dir)
	if err != nil {
		return 0, fmt.Errorf("sweep object directory %s: %w", d.root, err)
	}
	swept := 0
	for _, name := range names {
		file := d.fs.PathJoin(dir, name)
		stat, err := d.fs.Stat(file)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !stat.ModTime().Before(before) {
			continue
		}
		if err == nil {
			err = d.fs.Remove(file)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return swept, fmt.Errorf("sweep object directory %s: %w", d.root, err)
		}
		swept++
	}
	return swept, nil
}

// path is the file of a key, or the directory of "" and ".".
func (d *Dir) path(key string) string {
	if key == "." {
		return d.root
	}
	return d.fs.PathJoin(append([]string{d.root}, strings.Split(key, "/")...)...)
}
