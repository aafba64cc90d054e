package manifest

import (
	"encoding/hex"
	"testing"

	"google.golang.org/protobuf/proto"

	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func TestStoredForm(t *testing.T) {
	t.Parallel()
	m := &commandv1.Manifest{Version: 258, NextNumber: 2, Segments: []*commandv1.Segment{{
		Number: 1, StorageId: "local", Path: "app/t/batch-1.parquet", SizeBytes: 10, Sha256: []byte{1}, Rows: 3, MinKey: []byte("b"), MaxKey: []byte("d"),
		MinSeq: 7, MaxSeq: 9, SchemaVersion: 1, Added: 258,
	}}}
	value, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	const golden = "010000000000000102088202100" +
		"21a3608011205" + "6c6f63616c" + "1a15" + "6170702f742f62617463682d312e70617271756574" + "200a2a010130034201624a0164500758096001708202"
	if got := hex.EncodeToString(value); got != golden {
		t.Errorf("the stored form is\n%s, want\n%s", got, golden)
	}
	back, err := Decode(value)
	if err != nil || !proto.Equal(back, m) {
		t.Fatalf("decoded %v, %v", back, err)
	}
	for _, bad := range [][]byte{nil, value[:8], append([]byte{2}, value[1:]...), append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 1}, value[9:]...), value[:len(value)-1]} {
		if _, err := Decode(bad); err == nil {
			t.Errorf("%x was decoded", bad)
		}
	}
	for key, want := range map[string]bool{"a": false, "b": true, "c": true, "d": true, "da": false} {
		if Covers(m.GetSegments()[0], []byte(key)) != want {
			t.Errorf("covers %s is %v", key, !want)
		}
	}
	for _, c := range []struct {
		low, high string
		want      bool
	}{{"", "b", false}, {"", "ba", true}, {"d", "", true}, {"da", "", false}, {"c", "c1", true}} {
		high := []byte(c.high)
		if c.high == "" {
			high = nil
		}
		if Overlaps(m.GetSegments()[0], []byte(c.low), high) != c.want {
			t.Errorf("overlaps %s to %s is %v", c.low, c.high, !c.want)
		}
	}
}
