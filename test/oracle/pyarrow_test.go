package oracle

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// pyArrow is what testdata/segment.py prints.
type pyArrow struct {
	Version string `json:"version"`
	Groups  int    `json:"groups"`
	Columns []struct {
		Name   string            `json:"name"`
		Type   string            `json:"type"`
		Values []json.RawMessage `json:"values"`
	} `json:"columns"`
}

// pyTypes are the types of columns that pyarrow names otherwise than Arrow's reader in Go.
var pyTypes = map[string]string{
	"small": "int16", "whole": "int32", "float": "float", "double": "double", "decimal": "decimal128(38, 4)", "text": "string", "file": "string",
	"json": "extension<arrow.json>", "uuid": "extension<arrow.uuid>", "date": "date32[day]", "time": "time64[us]", "embedding": "list<element: float not null>",
}

// pyValue is a value as testdata/segment.py prints it.
func pyValue(v datum.Datum) any {
	switch v.Kind() { //nolint:exhaustive // the others are texts
	case datum.Boolean:
		return v.Bool()
	case datum.SmallInt, datum.Int, datum.BigInt, datum.Timestamp, datum.DateTime, datum.Date, datum.Time:
		return v.Int()
	case datum.Float, datum.Double:
		return pyFloat(v.Float())
	case datum.Bytes, datum.UUID:
		return hex.EncodeToString([]byte(v.Str()))
	case datum.Embedding:
		elements := []any{}
		for _, e := range v.Embedding() {
			elements = append(elements, pyFloat(float64(e)))
		}
		return elements
	case datum.Decimal:
		return v.String()
	}
	return v.Str()
}

// pyFloat prints a number as float.hex of Python does.
func pyFloat(f float64) string {
	bits := math.Float64bits(f)
	sign, exponent, fraction := "", int(bits>>52&0x7ff), bits&(1<<52-1)
	if bits>>63 == 1 {
		sign = "-"
	}
	switch {
	case f == 0:
		return sign + "0x0.0p+0"
	case exponent == 0:
		return fmt.Sprintf("%s0x0.%013xp-1022", sign, fraction)
	}
	return fmt.Sprintf("%s0x1.%013xp%+d", sign, fraction, exponent-1023)
}

// TestPyArrowOpensSegments has pyarrow read a file with a column of every type, and compares its types, its groups of rows and every value. PYARROW is a Python
// that has it; make pyarrow makes one.
func TestPyArrowOpensSegments(t *testing.T) {
	python := os.Getenv("PYARROW")
	if python == "" {
		t.Skip("PYARROW names no Python with pyarrow; make pyarrow makes one")
	}
	table, written, content := typedSegment(t)
	path := filepath.Join(t.TempDir(), "batch-0.parquet")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "segment.py"), path)
	command.Stderr = os.Stderr
	printed, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var read pyArrow
	if err := json.Unmarshal(printed, &read); err != nil {
		t.Fatal(err)
	}
	if read.Groups < 3 || len(read.Columns) != len(table.Columns)+2 {
		t.Fatalf("%d groups of rows and %d columns", read.Groups, len(read.Columns))
	}
	columns, values := arrowColumns(), 0
	for place, found := range read.Columns {
		name, kind := "_seq", "int64"
		switch {
		case place < len(table.Columns):
			name = table.Columns[place].Name
			if kind = columns[name].arrow; place == 0 {
				kind = "int64"
			}
			if other := pyTypes[name]; other != "" {
				kind = other
			}
		case place > len(table.Columns):
			name, kind = "_deleted", "bool"
		}
		if found.Name != name || found.Type != kind || len(found.Values) != typedRows {
			t.Errorf("column %d is %s of type %s with %d values for pyarrow, want %s of %s", place, found.Name, found.Type, len(found.Values), name, kind)
			continue
		}
		for row, got := range found.Values {
			var want any
			switch {
			case place == len(table.Columns):
				want = row + 100
			case place > len(table.Columns):
				want = row%10 == 0
			case !written[row][place].IsNull():
				want = pyValue(written[row][place])
			}
			text, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			if !sameJSON(t, got, text) {
				t.Fatalf("row %d, column %s is %.100s for pyarrow, want %.100s", row, name, got, text)
			}
			values++
		}
	}
	t.Logf("pyarrow %s reads %d columns, %d groups of rows and %d values as they were written", read.Version, len(read.Columns), read.Groups, values)
}

// sameJSON compares two JSON values that may be written differently. Numbers are compared as texts, so that none is rounded.
func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	if string(a) == string(b) {
		return true
	}
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	_, number := x.(float64)
	return !number && fmt.Sprint(x) == fmt.Sprint(y)
}
