package tablefile_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/storage/tablefile"
)

func build(t *testing.T, entries int) []byte {
	t.Helper()
	b := tablefile.NewBuilder()
	for i := range entries {
		if err := b.Add(fmt.Appendf(nil, "key %06d", i), bytes.Repeat([]byte{byte(i)}, i%300)); err != nil {
			t.Fatal(err)
		}
	}
	file, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestTableFiles: what was added comes back in its order, from files of no block, one and many; the same entries are the same bytes.
func TestTableFiles(t *testing.T) {
	t.Parallel()
	for _, entries := range []int{0, 1, 10_000} {
		file, at := build(t, entries), 0
		if !bytes.Equal(file, build(t, entries)) {
			t.Errorf("%d entries are another file the second time", entries)
		}
		err := tablefile.Read(file, func(key, value []byte) error {
			if string(key) != fmt.Sprintf("key %06d", at) || !bytes.Equal(value, bytes.Repeat([]byte{byte(at)}, at%300)) {
				t.Fatalf("entry %d is %q, %d bytes", at, key, len(value))
			}
			at++
			return nil
		})
		if err != nil || at != entries {
			t.Errorf("%d of %d entries came back, %v", at, entries, err)
		}
	}
}

// TestErrorsAndPanicsOfTheVisitor: they are the visitor's and not the file's.
func TestErrorsAndPanicsOfTheVisitor(t *testing.T) {
	t.Parallel()
	file, mine := build(t, 10), errors.New("mine")
	if err := tablefile.Read(file, func(_, _ []byte) error { return mine }); !errors.Is(err, mine) || errors.Is(err, tablefile.ErrMalformed) {
		t.Errorf("the visitor's error is told as %v", err)
	}
	defer func() {
		if p := recover(); p != "mine" {
			t.Errorf("the visitor's panic became %v", p)
		}
	}()
	err := tablefile.Read(file, func(_, _ []byte) error { panic("mine") })
	t.Errorf("the visitor's panic was told as %v", err)
}

// TestCutTableFiles: a file that ends early, anywhere, is malformed.
func TestCutTableFiles(t *testing.T) {
	t.Parallel()
	file := build(t, 100)
	for end := range file {
		if err := tablefile.Read(file[:end], func(_, _ []byte) error { return nil }); !errors.Is(err, tablefile.ErrMalformed) {
			t.Errorf("%d of %d bytes: %v", end, len(file), err)
		}
	}
	b := tablefile.NewBuilder()
	defer b.Abandon()
	if err := errors.Join(b.Add([]byte("b"), nil), b.Add([]byte("a"), nil)); err == nil {
		t.Error("a key that does not follow was taken")
	}
}
