package segment

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
)

func TestDamageIsNoticed(t *testing.T) {
	t.Parallel()
	table := narrow()
	rows := counted(300, func(i int) string { return strconv.Itoa(i * i) })
	raw, _ := write(t, table, rows)
	readAll := func(raw []byte) (all []datum.Datum, err error) {
		r, err := Open(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return nil, err
		}
		for n := range r.Blocks() {
			for _, place := range []int{0, 1, SeqColumn, DeletedColumn} {
				values, err := r.ReadColumn(n, place)
				if err != nil {
					return nil, err
				}
				for i := range values.Len() {
					all = append(all, values.At(i))
				}
			}
		}
		return all, nil
	}
	want, err := readAll(raw)
	if err != nil {
		t.Fatal(err)
	}
	// The first page begins behind the magic. Its bytes are covered; what its header says beside their length and sum nobody needs.
	harmless := 0
	for at := 60; at < 400; at++ {
		bad := bytes.Clone(raw)
		bad[at] ^= 1 << (at % 8)
		if got, err := readAll(bad); err == nil {
			harmless++
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("a flipped bit at %d is not noticed, and other values are read", at)
			}
		} else if !errors.Is(err, ErrDamaged) {
			t.Errorf("a flipped bit at %d is %v", at, err)
		}
	}
	if harmless > 20 {
		t.Errorf("%d of 340 flipped bits are not noticed", harmless)
	}
	for _, cut := range []int{0, 4, len(raw) / 2, len(raw) - 1} {
		if _, err := readAll(raw[:cut]); !errors.Is(err, ErrDamaged) {
			t.Errorf("a file of %d bytes is %v", cut, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	table := narrow()
	raw, _ := write(f, table, counted(50, func(i int) string { return strconv.Itoa(i) }))
	f.Add(raw)
	f.Fuzz(func(_ *testing.T, raw []byte) {
		r, err := Open(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return
		}
		for n := range min(r.Blocks(), 4) {
			_, _ = r.ReadColumn(n, SeqColumn)
			_, _ = r.ReadColumn(n, r.KeyColumn())
		}
	})
}

var update = flag.Bool("update", false, "write golden files that are not there")

// TestGoldenFile reads what the first version of the format wrote, and what is written since whole numbers are packed.
func TestGoldenFile(t *testing.T) {
	t.Parallel()
	table := everything(datum.Of(datum.Text))
	for path, c := range map[string]struct {
		table *schema.Table
		rows  []written
	}{
		"testdata/v1.parquet":     {table, draw(rand.New(rand.NewPCG(3, 4)), table, 40)},
		"testdata/packed.parquet": {narrow(), counted(300, func(i int) string { return strconv.Itoa(i * i) })},
	} {
		if _, err := os.Stat(path); *update && errors.Is(err, fs.ErrNotExist) {
			raw, _ := write(t, c.table, c.rows)
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		check(t, c.table, raw, c.rows)
	}
}
