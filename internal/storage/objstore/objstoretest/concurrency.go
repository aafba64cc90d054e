package objstoretest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

func oneOfMany(t *testing.T, store objstore.Store) {
	t.Helper()
	var won atomic.Int32
	var winner atomic.Value
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			content := fmt.Sprintf("writer %d", i)
			_, err := store.Put(t.Context(), "one/k", strings.NewReader(content), int64(len(content)), objstore.PutOptions{IfNotExists: true})
			switch {
			case err == nil:
				won.Add(1)
				winner.Store(content)
			case !errors.Is(err, objstore.ErrExists):
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	group.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d writers created the object", won.Load())
	}
	if got := get(t, store, "one/k", 0, -1); got != winner.Load() {
		t.Errorf("the object holds %q, the winner wrote %q", got, winner.Load())
	}
}

func cancelled(t *testing.T, store objstore.Store) {
	t.Helper()
	put(t, store, "k", "content")
	ctx, cancel := context.WithCancel(t.Context())
	body, err := store.Get(ctx, "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_, putErr := store.Put(ctx, "new", strings.NewReader("x"), 1, objstore.PutOptions{})
	listErr := store.List(ctx, "", func(objstore.ObjectInfo) error { return nil })
	if !errors.Is(putErr, context.Canceled) || !errors.Is(listErr, context.Canceled) {
		t.Errorf("put: %v; list: %v", putErr, listErr)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"k"}, names(t, store, "")); diff != "" {
		t.Error(diff)
	}
}

// readersOfReplaced shows that no reader sees a mixture of two contents.
func readersOfReplaced(t *testing.T, store objstore.Store) {
	t.Helper()
	const size = 1 << 20
	contents := []string{strings.Repeat("a", size), strings.Repeat("b", size)}
	put(t, store, "k", contents[0])
	var group sync.WaitGroup
	group.Go(func() {
		for i := range 10 {
			if _, err := store.Put(t.Context(), "k", strings.NewReader(contents[i%2]), size, objstore.PutOptions{}); err != nil {
				t.Error(err)
			}
		}
	})
	for range 2 {
		group.Go(func() {
			for range 10 {
				body, err := store.Get(t.Context(), "k", 0, -1)
				if err != nil {
					t.Error(err)
					return
				}
				content, err := io.ReadAll(body)
				if err = errors.Join(err, body.Close()); err != nil || !slices.Contains(contents, string(content)) {
					t.Errorf("%d bytes, a mixture or part: %v", len(content), err)
				}
			}
		})
	}
	group.Wait()
}

// writersAndDeleters shows that deleting the last object of a directory does not disturb who writes there.
func writersAndDeleters(t *testing.T, store objstore.Store) {
	t.Helper()
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for range 20 {
				key := fmt.Sprintf("user/table/%d", i)
				if _, err := store.Put(t.Context(), key, strings.NewReader("x"), 1, objstore.PutOptions{}); err != nil {
					t.Error(err)
				}
				if err := store.Delete(t.Context(), key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if left := names(t, store, ""); left != nil {
		t.Errorf("left: %v", left)
	}
}
