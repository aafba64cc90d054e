package statemachine

import (
	"bytes"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// FuzzDecodeRecord gives any bytes to the reader of remembered requests; what it takes, it writes the same again.
func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add(append([]byte{recordFormat}, make([]byte, 20)...))
	f.Add(appendRecord(nil, []answered{{request: ident.RequestID{1}, response: []byte("a")}, {request: ident.RequestID{2}}}))
	f.Fuzz(func(t *testing.T, value []byte) {
		found, err := decodeRecord(value)
		if err == nil && !bytes.Equal(appendRecord(nil, found), value) {
			t.Fatalf("%x is taken as %+v", value, found)
		}
	})
}
