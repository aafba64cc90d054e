package flush

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

// failingPut is a directory whose Put reads a little and fails.
type failingPut struct {
	*objstore.Dir

	err error
}

func (f failingPut) Put(_ context.Context, _ string, body io.Reader, _ int64, _ objstore.PutOptions) (objstore.ObjectInfo, error) {
	_, _ = body.Read(make([]byte, 1))
	return objstore.ObjectInfo{}, f.err
}

// manyRows are more rows than a pipe holds.
type manyRows struct{ left int64 }

func (m *manyRows) read(int64) (*row, error) {
	if m.left--; m.left < 0 {
		return nil, nil
	}
	id := datum.NewBigInt(1000 - m.left)
	return &row{key: datum.AppendKey(nil, id), seq: 1, values: []datum.Datum{id}}, nil
}

func (m *manyRows) column() error { return nil }

// TestWriteSaysWhyTheStoreGaveUp has a store that refuses a file halfway: the error is that of the store, and a name that is
// taken is told from every other failure.
func TestWriteSaysWhyTheStoreGaveUp(t *testing.T) {
	t.Parallel()
	dir, err := objstore.OpenDir(disk.Local(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &Worker{Catalog: catalog.NewStore(), Clock: clock.Real{}}
	described := &schema.Table{ID: 1, Namespace: "app", Name: "t", Columns: []schema.Column{
		{ID: 1, Name: "id", Type: datum.Of(datum.BigInt), PrimaryKey: true},
	}}
	broken := errors.New("the bucket is on fire")
	for _, failure := range []error{objstore.ErrExists, broken} {
		_, err = w.write(t.Context(), described, &place{storage: "local", directory: "app/t", objects: failingPut{dir, failure}}, 7, &manyRows{left: 900})
		taken, isTaken := errors.AsType[*TakenError](err)
		if errors.Is(failure, broken) {
			if !errors.Is(err, broken) || isTaken || errors.Is(err, errUnwanted) {
				t.Errorf("the error is %v", err)
			}
		} else if !isTaken || taken.Next != 8 {
			t.Errorf("the error is %v, want that batch-8 may be free", err)
		}
	}
}
