package flush

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// maxBoundBytes is the size of a bound of a column that a manifest repeats.
const maxBoundBytes = 64

// source gives the rows of one file in order; nil is its end. It is told how large the file is by now.
type source interface {
	read(sizeBytes int64) (*row, error)
}

// pacedSource is a source that wants a word after each page, too.
type pacedSource interface {
	source
	column() error
}

// FileName is the name of a segment in its directory.
func FileName(number uint64) string { return "batch-" + strconv.FormatUint(number, 10) + ".parquet" }

// FileNumber is the inverse of FileName.
func FileNumber(name string) (number uint64, ok bool) {
	text, found := strings.CutPrefix(name, "batch-")
	text, cut := strings.CutSuffix(text, ".parquet")
	number, err := strconv.ParseUint(text, 10, 63)
	return number, found && cut && err == nil && FileName(number) == name
}

// errUnwanted ends a writer whose file nobody takes any more.
var errUnwanted = errors.New("the file is not written any more")

// write makes the next file of a scope out of rows, nil when there are none. Its number is at least the given one.
func (w *Worker) write(ctx context.Context, t *schema.Table, at *place, number uint64, rows pacedSource) (*commandv1.Segment, error) {
	first, err := rows.read(0)
	if err != nil || first == nil {
		return nil, err
	}
	if number, err = NextNumber(ctx, at.objects, at.directory, number); err != nil {
		return nil, err
	}
	path := at.directory + "/" + FileName(number)
	if err = w.step("write"); err != nil {
		return nil, err
	}
	from, to := io.Pipe()
	var summary *segment.Summary
	done := make(chan error, 1)
	go func() {
		var ended error
		summary, ended = writeRows(to, t, w.Catalog.Current().Owner(), first, rows)
		_ = to.CloseWithError(ended) // never fails
		done <- ended
	}()
	_, err = at.objects.Put(ctx, path, from, objstore.UnknownSize, objstore.PutOptions{IfNotExists: true})
	_ = from.CloseWithError(errUnwanted) // never fails; ends the writer
	failure := <-done
	switch {
	case errors.Is(err, objstore.ErrExists): // another flush was faster, and the writer was told to end
		return nil, fmt.Errorf("write %s: %w", path, &TakenError{Next: number + 1})
	case failure != nil && !errors.Is(failure, errUnwanted): // the rows, or what is made of them; the store was told
		return nil, fmt.Errorf("write %s: %w", path, failure)
	case err != nil: // the store gave up, and knows why
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return describe(at, number, path, t, summary, w.Clock.Now().UnixMicro()), nil
}

// NextNumber finds a number, at least the given one, above those of all segments in a directory: others than the manifest
// names may be left of flushes that died.
func NextNumber(ctx context.Context, objects objstore.Store, directory string, number uint64) (uint64, error) {
	err := objects.List(ctx, directory+"/", func(found objstore.ObjectInfo) error {
		name := strings.TrimPrefix(found.Key, directory+"/")
		if taken, ok := FileNumber(name); ok && taken >= number {
			number = taken + 1
		}
		return nil
	})
	return number, err
}

// writeRows writes a whole file.
func writeRows(to io.Writer, t *schema.Table, owner string, first *row, rows pacedSource) (*segment.Summary, error) {
	w, err := segment.NewWriter(to, t)
	if err != nil {
		return nil, err
	}
	w.SetOwner(owner)
	w.SetPause(rows.column)
	for next := first; next != nil; {
		if err = w.Add(next.key, next.seq, next.deleted, next.values); err != nil {
			return nil, err
		}
		if next, err = rows.read(w.Size()); err != nil {
			return nil, err
		}
	}
	return w.Close()
}

// describe is what the manifest says of a file.
func describe(at *place, number uint64, path string, t *schema.Table, s *segment.Summary, nowMicros int64) *commandv1.Segment {
	found := &commandv1.Segment{
		Number: number, StorageId: at.storage, Path: path, SizeBytes: uint64(s.SizeBytes), Sha256: s.SHA256[:], //nolint:gosec // not negative
		Rows: uint64(s.Rows), Deletions: uint64(s.Deletions), MinKey: s.MinKey, MaxKey: s.MaxKey, MinSeq: s.MinSeq, MaxSeq: s.MaxSeq, //nolint:gosec // not negative
		SchemaVersion: t.Version, CreatedMicros: nowMicros, ChunkSums: s.ChunkSums, FirstDeletion: s.FirstDeletion,
	}
	for i := range s.Columns {
		column := &commandv1.SegmentColumn{Id: s.Columns[i].ID, Nulls: uint64(s.Columns[i].Nulls)} //nolint:gosec // not negative
		if s.Columns[i].Nulls < s.Rows {
			low, high := datum.AppendValue(nil, s.Columns[i].Min), datum.AppendValue(nil, s.Columns[i].Max)
			if len(low) <= maxBoundBytes && len(high) <= maxBoundBytes {
				column.Min, column.Max = low, high
			}
		}
		found.Columns = append(found.Columns, column)
	}
	return found
}
