// Package objstoretest holds what every objstore.Store promises, as a suite of tests, and an S3 server that fails on
// demand.
//
// A Server may be used by any test that needs S3; its requests can be counted, refused, torn and delayed.
//
// Only tests may use this package.
package objstoretest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

// Large is the size of an object that S3 takes in several parts.
const Large = 17<<20 + 321

// Run tests a store. open gives an empty one.
func Run(t *testing.T, open func(t *testing.T) objstore.Store) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*testing.T, objstore.Store)
	}{
		{"round trip", roundTrip},
		{"ranges", ranges},
		{"missing", missing},
		{"replace", replace},
		{"if not exists", ifNotExists},
		{"one of many creates", oneOfMany},
		{"wrong size", wrongSize},
		{"broken body", brokenBody},
		{"list", list},
		{"list stops", listStops},
		{"delete", remove},
		{"keys", keysAreChecked},
		{"large", large},
		{"cancelled", cancelled},
		{"readers of replaced", readersOfReplaced},
		{"writers and deleters", writersAndDeleters},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, open(t))
		})
	}
}

func put(t *testing.T, store objstore.Store, key, content string) objstore.ObjectInfo {
	t.Helper()
	info, err := store.Put(t.Context(), key, strings.NewReader(content), int64(len(content)), objstore.PutOptions{})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	if info.Key != key || info.Size != int64(len(content)) || info.ETag == "" {
		t.Errorf("put %s: %+v", key, info)
	}
	return info
}

func get(t *testing.T, store objstore.Store, key string, offset, length int64) string {
	t.Helper()
	body, err := store.Get(t.Context(), key, offset, length)
	if err != nil {
		t.Fatalf("get %s [%d, %d]: %v", key, offset, length, err)
	}
	content, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		t.Fatalf("read %s [%d, %d]: %v", key, offset, length, err)
	}
	return string(content)
}

func names(t *testing.T, store objstore.Store, prefix string) []string {
	t.Helper()
	var keys []string
	if err := store.List(t.Context(), prefix, func(info objstore.ObjectInfo) error {
		keys = append(keys, info.Key)
		return nil
	}); err != nil {
		t.Fatalf("list %q: %v", prefix, err)
	}
	return keys
}

func roundTrip(t *testing.T, store objstore.Store) {
	t.Helper()
	for _, content := range []string{"", "a", "hello", strings.Repeat("0123456789", 100_000)} {
		for _, size := range []int64{int64(len(content)), objstore.UnknownSize} {
			key := fmt.Sprintf("ns/table/%d-%d", len(content), size)
			info, err := store.Put(t.Context(), key, strings.NewReader(content), size, objstore.PutOptions{})
			if err != nil || info.Size != int64(len(content)) {
				t.Fatalf("put %s: %+v, %v", key, info, err)
			}
			if got := get(t, store, key, 0, -1); got != content {
				t.Errorf("%s: %d bytes came back, not %d", key, len(got), len(content))
			}
			stat, err := store.Stat(t.Context(), key)
			if err != nil || stat.Size != int64(len(content)) || stat.Key != key || stat.ETag != info.ETag || stat.Modified.IsZero() {
				t.Errorf("stat %s: %+v, %v; put said %+v", key, stat, err, info)
			}
		}
	}
}

func ranges(t *testing.T, store objstore.Store) {
	t.Helper()
	const content = "0123456789"
	put(t, store, "r", content)
	for _, c := range []struct {
		offset, length int64
		want           string
	}{
		{0, -1, content},
		{0, 10, content},
		{0, 1, "0"},
		{3, 4, "3456"},
		{9, 1, "9"},
		{5, -1, "56789"},
		{5, 100, "56789"},
		{10, -1, ""},
		{10, 5, ""},
		{100, 5, ""},
		{100, -1, ""},
		{0, 0, ""},
		{4, 0, ""},
	} {
		if got := get(t, store, "r", c.offset, c.length); got != c.want {
			t.Errorf("[%d, %d]: %q, not %q", c.offset, c.length, got, c.want)
		}
	}
	if body, err := store.Get(t.Context(), "r", -1, 1); err == nil {
		_ = body.Close()
		t.Error("a negative offset was read")
	}
	put(t, store, "empty", "")
	if got := get(t, store, "empty", 0, 5); got != "" {
		t.Errorf("an empty object holds %q", got)
	}
}

func missing(t *testing.T, store objstore.Store) {
	t.Helper()
	put(t, store, "dir/there", "x")
	for _, key := range []string{"missing", "dir", "dir/missing", "dir/there/below", "no/such/dir"} {
		for _, length := range []int64{-1, 0, 5} {
			body, err := store.Get(t.Context(), key, 0, length)
			if err == nil {
				_ = body.Close()
			}
			if !errors.Is(err, objstore.ErrNotFound) {
				t.Errorf("get %s: %v", key, err)
			}
		}
		if _, err := store.Stat(t.Context(), key); !errors.Is(err, objstore.ErrNotFound) {
			t.Errorf("stat %s: %v", key, err)
		}
		if err := store.Delete(t.Context(), key); err != nil {
			t.Errorf("delete %s: %v", key, err)
		}
	}
	if got := get(t, store, "dir/there", 0, -1); got != "x" {
		t.Errorf("the object holds %q", got)
	}
}

func replace(t *testing.T, store objstore.Store) {
	t.Helper()
	first := put(t, store, "k", "first")
	second := put(t, store, "k", "the second")
	if first.ETag == second.ETag {
		t.Errorf("both contents have the ETag %s", first.ETag)
	}
	if got := get(t, store, "k", 0, -1); got != "the second" {
		t.Errorf("the object holds %q", got)
	}
}

func ifNotExists(t *testing.T, store objstore.Store) {
	t.Helper()
	only := objstore.PutOptions{IfNotExists: true}
	if _, err := store.Put(t.Context(), "a/k", strings.NewReader("first"), 5, only); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), "a/k", strings.NewReader("second"), 6, only); !errors.Is(err, objstore.ErrExists) {
		t.Errorf("the second Put: %v", err)
	}
	if got := get(t, store, "a/k", 0, -1); got != "first" {
		t.Errorf("the object holds %q", got)
	}
	if err := store.Delete(t.Context(), "a/k"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), "a/k", strings.NewReader("third"), 5, only); err != nil {
		t.Errorf("after the deletion: %v", err)
	}
}

func wrongSize(t *testing.T, store objstore.Store) {
	t.Helper()
	put(t, store, "old", "old content")
	for _, key := range []string{"old", "new"} {
		if _, err := store.Put(t.Context(), key, strings.NewReader("12345"), 6, objstore.PutOptions{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s, too short: %v", key, err)
		}
		if _, err := store.Put(t.Context(), key, strings.NewReader("12345"), 4, objstore.PutOptions{}); err == nil {
			t.Errorf("%s: a body that is too long was written", key)
		}
	}
	if diff := cmp.Diff([]string{"old"}, names(t, store, "")); diff != "" {
		t.Error(diff)
	}
	if got := get(t, store, "old", 0, -1); got != "old content" {
		t.Errorf("the object holds %q", got)
	}
}

func brokenBody(t *testing.T, store objstore.Store) {
	t.Helper()
	broken := errors.New("the source broke")
	put(t, store, "old", "old content")
	for _, before := range []int{0, 100, Large} {
		for _, size := range []int64{Large + 1, objstore.UnknownSize} {
			body := io.MultiReader(bytes.NewReader(make([]byte, before)), iotest.ErrReader(broken))
			if _, err := store.Put(t.Context(), "old", body, size, objstore.PutOptions{}); !errors.Is(err, broken) {
				t.Errorf("after %d bytes of %d: %v", before, size, err)
			}
		}
	}
	if got := get(t, store, "old", 0, -1); got != "old content" {
		t.Errorf("the object holds %q", got)
	}
}

func list(t *testing.T, store objstore.Store) {
	t.Helper()
	keys := []string{
		"a", "b/1", "b/2/x", "b/2/y", "b-", "b.c", "b0", "ns/t/manifest.json", "ns/t-2/z", "ns/t", "ümlaut/ß", "with space/and+plus",
	}
	keys = slices.DeleteFunc(keys, func(key string) bool { return key == "ns/t" }) // it would be a directory too
	for i, key := range keys {
		put(t, store, key, strings.Repeat("x", i))
	}
	slices.Sort(keys)
	for _, prefix := range []string{"", "a", "b", "b/", "b/2", "b/2/", "b/2/x", "ns/t", "ns/t/", "ns/t-", "zzz", "ü", "b/2/x/"} {
		want := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !strings.HasPrefix(key, prefix) })
		if len(want) == 0 {
			want = nil
		}
		if diff := cmp.Diff(want, names(t, store, prefix)); diff != "" {
			t.Errorf("prefix %q: %s", prefix, diff)
		}
	}
	if err := store.List(t.Context(), "b/2/", func(info objstore.ObjectInfo) error {
		stat, err := store.Stat(t.Context(), info.Key) // calls from within are allowed
		if err != nil || stat.Size != info.Size || stat.ETag != info.ETag {
			t.Errorf("listed %+v, stat %+v, %v", info, stat, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func listStops(t *testing.T, store objstore.Store) {
	t.Helper()
	stop := errors.New("enough")
	for i := range 5 {
		put(t, store, fmt.Sprintf("k%d", i), "")
	}
	seen := 0
	err := store.List(t.Context(), "", func(objstore.ObjectInfo) error {
		if seen++; seen == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || seen != 2 {
		t.Errorf("%d objects, then %v", seen, err)
	}
}

func remove(t *testing.T, store objstore.Store) {
	t.Helper()
	put(t, store, "a/b/c", "x")
	put(t, store, "a/d", "y")
	for range 2 {
		if err := store.Delete(t.Context(), "a/b/c"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"a/d"}, names(t, store, "")); diff != "" {
			t.Error(diff)
		}
	}
	put(t, store, "a/b", "now it is an object")
}

func keysAreChecked(t *testing.T, store objstore.Store) {
	t.Helper()
	for _, key := range []string{
		"", "/", "/etc/passwd", "a//b", "a/", "..", "../x", "a/../../x", "a/.", ".tmp/x", "a/.hidden", `a\b`, "a\x00b", "a\nb",
		"\xff", strings.Repeat("x", 256), strings.Repeat("a/", 512) + "x",
	} {
		_, putErr := store.Put(t.Context(), key, strings.NewReader("x"), 1, objstore.PutOptions{})
		body, getErr := store.Get(t.Context(), key, 0, -1)
		if getErr == nil {
			_ = body.Close()
		}
		_, statErr := store.Stat(t.Context(), key)
		for what, err := range map[string]error{"put": putErr, "get": getErr, "stat": statErr, "delete": store.Delete(t.Context(), key)} {
			if !errors.Is(err, objstore.ErrInvalidKey) {
				t.Errorf("%s %q: %v", what, key, err)
			}
		}
	}
	for _, prefix := range []string{"/", "../", "a/../", "a//"} {
		if err := store.List(t.Context(), prefix, func(objstore.ObjectInfo) error { return nil }); !errors.Is(err, objstore.ErrInvalidKey) {
			t.Errorf("list %q: %v", prefix, err)
		}
	}
	for _, name := range []string{"", ".", "..", "../../x", "a/b", "%2F", "a%b", "\x00", "ü", "\xff\xfe", ".hidden", `c:\x`, "tab\t", strings.Repeat("%", 100), strings.Repeat("%", 99) + "/", strings.Repeat("ü", 110)} {
		key := "u/" + objstore.EscapeSegment(name) + "x"
		put(t, store, key, name)
		if got := get(t, store, key, 0, -1); got != name {
			t.Errorf("%q under %q: %q", name, key, got)
		}
	}
}

func large(t *testing.T, store objstore.Store) {
	t.Helper()
	content := make([]byte, Large)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(content)
	for _, size := range []int64{Large, objstore.UnknownSize} {
		info, err := store.Put(t.Context(), "large", iotest.HalfReader(bytes.NewReader(content)), size, objstore.PutOptions{})
		if err != nil || info.Size != Large {
			t.Fatalf("put: %+v, %v", info, err)
		}
		if got := get(t, store, "large", 0, -1); got != string(content) {
			t.Errorf("%d bytes came back differently", len(got))
		}
		at := int64(8<<20 - 5)
		if got := get(t, store, "large", at, 10); got != string(content[at:at+10]) {
			t.Error("the bytes around the seam are others")
		}
	}
	_, err := store.Put(t.Context(), "large", bytes.NewReader(content), Large, objstore.PutOptions{IfNotExists: true})
	if !errors.Is(err, objstore.ErrExists) {
		t.Errorf("if not exists: %v", err)
	}
	for _, size := range []int64{Large - 1, Large + 1} {
		if _, err := store.Put(t.Context(), "wrong", bytes.NewReader(content), size, objstore.PutOptions{}); err == nil {
			t.Errorf("a size of %d was believed", size)
		}
	}
	if diff := cmp.Diff([]string{"large"}, names(t, store, "")); diff != "" {
		t.Error(diff)
	}
}
