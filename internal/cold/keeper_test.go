package cold

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// storePeer is another Store as a member that answers at once.
type storePeer struct{ s *Store }

func (p storePeer) Fetch(ctx context.Context, storageID, path string, to io.Writer) error {
	return p.s.Read(ctx, storageID, path, to)
}

// TestKeepReplacesNothing offers a file under a name that another one has. Only a manifest's word replaces a file.
func TestKeepReplacesNothing(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	mine, theirs := openStore(t, dirs[0], 0), openStore(t, dirs[1], 0)
	table := testTable()
	had := writeSegment(t, mine, table, 0, map[int64]version{1: {1, false, "mine"}})
	offered := writeSegment(t, theirs, table, 0, map[int64]version{1: {2, false, "theirs"}, 2: {2, false, "more"}})
	second := writeSegment(t, theirs, table, 1, map[int64]version{3: {3, false, "three"}})
	keep := func(s *commandv1.Segment) error {
		return mine.Keep(t.Context(), storePeer{theirs}, catalog.LocalStorage, s.GetPath(), s.GetSha256(), int64(s.GetSizeBytes()))
	}
	holds := func(s *commandv1.Segment) bool {
		raw, err := os.ReadFile(filepath.Join(dirs[0], "storage", filepath.FromSlash(s.GetPath())))
		sum := sha256.Sum256(raw)
		return err == nil && bytes.Equal(sum[:], s.GetSha256())
	}
	if err := keep(offered); !errors.Is(err, ErrTaken) || !holds(had) {
		t.Errorf("the other file: %v, want ErrTaken; the first one is there: %v", err, holds(had))
	}
	if err := keep(had); err != nil {
		t.Errorf("the file that is here: %v", err)
	}
	if err := keep(second); err != nil || !holds(second) {
		t.Errorf("a file with another name: %v", err)
	}
	mine.cfg.Peers = func() []Peer { return []Peer{storePeer{theirs}} }
	if err := mine.tendFile(t.Context(), offered); err != nil || !holds(offered) {
		t.Errorf("the file that a manifest names: %v", err)
	}
}

// TestKeptFileBeginsItsGraceAnew has a flush that finds its file written already want it kept, when the sweeper has known it for an orphan for almost an
// hour, and when the sweeper is about to delete it: the flush has all of its time to name it.
func TestKeptFileBeginsItsGraceAnew(t *testing.T) {
	t.Parallel()
	mine := openStore(t, t.TempDir(), 0)
	orphan := writeSegment(t, mine, testTable(), 0, map[int64]version{1: {1, false, "mine"}})
	keep := func() {
		t.Helper()
		if err := mine.Keep(t.Context(), nil, catalog.LocalStorage, orphan.GetPath(), orphan.GetSha256(), int64(orphan.GetSizeBytes())); err != nil {
			t.Fatal(err)
		}
	}
	wall, late := clock.NewManual(time.Unix(1_700_000_000, 0)), false
	s := &Sweeper{
		Store: mine, Clock: wall, Busy: func() (bool, error) { return false, nil }, Buckets: func() bool { return true },
		Names: func(_ context.Context, current bool) (*Names, error) {
			if current && late {
				keep()
			}
			return NewNames(), nil
		},
	}
	sweep := func(what string, want int) {
		t.Helper()
		if got, err := s.Sweep(t.Context()); got != want || err != nil {
			t.Errorf("%s: %d files went, %v, want %d", what, got, err, want)
		}
	}
	sweep("at first sight", 0)
	wall.Advance(SweepGrace - time.Minute)
	keep()
	wall.Advance(time.Minute)
	sweep("when it is kept a minute before its time", 0)
	wall.Advance(SweepGrace)
	late = true
	sweep("when it is kept while it is about to go", 0)
	late = false
	wall.Advance(SweepGrace - time.Second)
	sweep("before the hour after that is over", 0)
	wall.Advance(SweepGrace)
	sweep("when nobody named it", 1)
}

// TestTendGoesOn has a segment that nobody has before one that another member has.
func TestTendGoesOn(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	mine, theirs := openStore(t, dirs[0], 0), openStore(t, dirs[1], 0)
	mine.cfg.Peers = func() []Peer { return []Peer{storePeer{theirs}} }
	table := testTable()
	m := &commandv1.Manifest{Version: 2, Segments: []*commandv1.Segment{
		writeSegment(t, theirs, table, 0, map[int64]version{1: {1, false, "lost"}}),
		writeSegment(t, theirs, table, 1, map[int64]version{2: {2, false, "there"}}),
	}}
	if err := os.Remove(filepath.Join(dirs[1], "storage", "app", "t", "batch-0.parquet")); err != nil {
		t.Fatal(err)
	}
	if err := mine.Tend(t.Context(), []Scope{{Table: table, Manifest: m}}); !errors.Is(err, ErrMissing) {
		t.Errorf("Tend says %v, want that a segment is missing", err)
	}
	for _, name := range []string{"batch-1.parquet", ManifestName} {
		if _, err := os.Stat(filepath.Join(dirs[0], "storage", "app", "t", name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReadWithoutItsFileMayBeTriedAgain reads cold rows where neither this node nor the other member has the file: the error says
// that it may pass, and what is missing.
func TestReadWithoutItsFileMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	mine, theirs := openStore(t, dirs[0], 0), openStore(t, dirs[1], 0)
	mine.cfg.Peers = func() []Peer { return []Peer{storePeer{theirs}} }
	wanted := writeSegment(t, theirs, testTable(), 0, map[int64]version{1: {1, false, "away"}})
	file := filepath.Join(dirs[1], "storage", "app", "t", "batch-0.parquet")
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	if err := mine.Ensure(wanted); fault.KindOf(err) != fault.Unavailable || !errors.Is(err, ErrMissing) {
		t.Errorf("without the file: %v, want that the rows are unavailable for now because a segment is missing", err)
	}
	if err := os.Rename(file+".away", file); err != nil {
		t.Fatal(err)
	}
	if err := mine.Ensure(wanted); err != nil {
		t.Errorf("with the file: %v", err)
	}
}

// TestEnsureChecksAFileThatIsOpen flips a bit of a segment that somebody has read: whoever wants the whole file to be right gets it
// from the other member, although the reader has found nothing wrong.
func TestEnsureChecksAFileThatIsOpen(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	mine, theirs := openStore(t, dirs[0], 0), openStore(t, dirs[1], 0)
	mine.cfg.Peers = func() []Peer { return []Peer{storePeer{theirs}} }
	wanted := writeSegment(t, theirs, testTable(), 0, map[int64]version{1: {1, false, "whole"}})
	if err := mine.Ensure(wanted); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dirs[0], "storage", "app", "t", "batch-0.parquet")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(content)
	damaged[len(damaged)/2] ^= 4
	if err := os.WriteFile(file, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := mine.Ensure(wanted); err != nil {
		t.Fatal(err)
	}
	if mended, err := os.ReadFile(file); err != nil || !bytes.Equal(mended, content) {
		t.Errorf("the file has wrong bytes after Ensure (%v)", err)
	}
}
