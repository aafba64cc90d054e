package sim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storages"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// bucketName is the storage that stands for S3.
const bucketName = "bucket"

// bucket is an object store that all nodes see. It does not answer while it is down; then, or at any time when faults are on,
// what was asked for may have been done without an answer.
type bucket struct {
	w       *world
	objects map[string][]byte
	downTo  int // step at which it answers again
}

func newBucket(w *world) *bucket { return &bucket{w: w, objects: make(map[string][]byte)} }

func (b *bucket) answers(what, key string) error {
	if b.w.step < b.downTo {
		b.w.saw(bucketDown)
		return fmt.Errorf("%s %s: %w", what, key, objstore.ErrUnavailable)
	}
	return nil
}

// Put implements objstore.Store.
func (b *bucket) Put(_ context.Context, key string, body io.Reader, size int64, opts objstore.PutOptions) (objstore.ObjectInfo, error) {
	content, err := io.ReadAll(body)
	if err != nil {
		return objstore.ObjectInfo{}, err
	}
	if size != objstore.UnknownSize && int64(len(content)) != size {
		return objstore.ObjectInfo{}, io.ErrUnexpectedEOF
	}
	if err := b.answers("put", key); err != nil {
		return objstore.ObjectInfo{}, err
	}
	if _, there := b.objects[key]; there && opts.IfNotExists {
		return objstore.ObjectInfo{}, fmt.Errorf("put %s: %w", key, objstore.ErrExists)
	}
	b.objects[key] = content
	b.w.trace.bytes('b', uint64(len(content)), 0, []byte(key))
	if b.w.plan.loseCall() {
		return objstore.ObjectInfo{}, fmt.Errorf("put %s: the answer is lost: %w", key, objstore.ErrUnavailable)
	}
	return objstore.ObjectInfo{Key: key, Size: int64(len(content))}, nil
}

// Get implements objstore.Store.
func (b *bucket) Get(_ context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := b.answers("get", key); err != nil {
		return nil, err
	}
	content, ok := b.objects[key]
	if !ok {
		return nil, fmt.Errorf("get %s: %w", key, objstore.ErrNotFound)
	}
	content = content[min(offset, int64(len(content))):]
	if length >= 0 {
		content = content[:min(length, int64(len(content)))]
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// Stat implements objstore.Store.
func (b *bucket) Stat(_ context.Context, key string) (objstore.ObjectInfo, error) {
	if err := b.answers("stat", key); err != nil {
		return objstore.ObjectInfo{}, err
	}
	content, ok := b.objects[key]
	if !ok {
		return objstore.ObjectInfo{}, fmt.Errorf("stat %s: %w", key, objstore.ErrNotFound)
	}
	return objstore.ObjectInfo{Key: key, Size: int64(len(content))}, nil
}

// List implements objstore.Store.
func (b *bucket) List(_ context.Context, prefix string, fn func(objstore.ObjectInfo) error) error {
	if err := b.answers("list", prefix); err != nil {
		return err
	}
	for _, key := range b.keys() {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		if err := fn(objstore.ObjectInfo{Key: key, Size: int64(len(b.objects[key]))}); err != nil {
			return err
		}
	}
	return nil
}

func (b *bucket) keys() []string {
	var found []string
	for key := range b.objects {
		found = append(found, key)
	}
	slices.Sort(found)
	return found
}

// Delete implements objstore.Store.
func (b *bucket) Delete(_ context.Context, key string) error {
	if err := b.answers("delete", key); err != nil {
		return err
	}
	b.w.trace.bytes('d', 0, 0, []byte(key))
	delete(b.objects, key)
	return nil
}

// strike lets the bucket be down for some seconds.
func (b *bucket) strike() {
	w := b.w
	if !w.opt.bucket || w.step < b.downTo || w.rng.IntN(1500) > 0 {
		return
	}
	b.downTo = w.plan.after(time.Second, 8*time.Second)
	w.stats.outages++
	w.trace.event("the bucket does not answer for %d steps", b.downTo-w.step)
}

// placeOf is the clause that says where the segments of one of the SQL tables lie.
func (w *world) placeOf(table int) string {
	if w.opt.bucket && table == 1 {
		return " WITH (STORAGE_ID = '" + bucketName + "')"
	}
	return ""
}

// makeBucket makes the storage, when the run has one.
func (c *clients) makeBucket(a *actor) {
	for there := !c.w.opt.bucket; !there; a.pause() {
		a.request(func(s *session) {
			r := s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateStorage{CreateStorage: &commandv1.CreateStorage{
				IfNotExists: true,
				Storage: &commandv1.Storage{
					Id: bucketName, Name: bucketName, Type: storages.TypeS3, BaseDirectory: "s3://sim/cold",
					SharedTablesTemplate: catalog.DefaultSharedTemplate, UserTablesTemplate: catalog.DefaultUserTemplate,
				},
			}}})
			there = r.outcome == succeeded && s.barrier(shard.Meta)
		})
	}
}
