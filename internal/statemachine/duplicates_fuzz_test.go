package statemachine

import (
	"bytes"
	"testing"
)

// FuzzDecodeRecord gives any bytes to the reader of remembered requests.
func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add(append([]byte{recordFormat}, make([]byte, 20)...))
	f.Fuzz(func(t *testing.T, value []byte) {
		request, response, err := decodeRecord(value)
		if err == nil && !bytes.Equal(append(append([]byte{recordFormat}, request[:]...), response...), value) {
			t.Fatalf("%x is taken as %x and %x", value, request, response)
		}
	})
}
