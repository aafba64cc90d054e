package manifest

import (
	"testing"

	"google.golang.org/protobuf/proto"

	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// FuzzDecode checks that any bytes give an error or a manifest that comes back from what it encodes to.
func FuzzDecode(f *testing.F) {
	encoded, err := Encode(&commandv1.Manifest{Version: 3, Segments: []*commandv1.Segment{{Path: "a/batch-1.parquet", MinKey: []byte{1}, MaxKey: []byte{9}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Add(encoded[:headerLen])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, value []byte) {
		m, err := Decode(value)
		if err != nil {
			return
		}
		again, err := Encode(m)
		if err != nil {
			t.Fatalf("encode %v: %v", m, err)
		}
		twice, err := Decode(again)
		if err != nil || !proto.Equal(m, twice) {
			t.Fatalf("%v comes back as %v, %v", m, twice, err)
		}
	})
}
