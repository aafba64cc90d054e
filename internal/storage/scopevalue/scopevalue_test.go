package scopevalue

import (
	"bytes"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/command"
)

// TestForms pins both forms.
func TestForms(t *testing.T) {
	t.Parallel()
	if got, want := OfIndex(0x0102), []byte{0, 0, 0, 0, 0, 0, 1, 2}; !bytes.Equal(got, want) {
		t.Errorf("index: %x, want %x", got, want)
	}
	if got, want := OfSeq(command.Seq(0x0102, 0x0304)), []byte{0, 0, 0, 0, 0, 0, 1, 2, 3, 4}; !bytes.Equal(got, want) {
		t.Errorf("seq: %x, want %x", got, want)
	}
}

// FuzzDecode gives any bytes to the reader; what it takes, it writes the same again.
func FuzzDecode(f *testing.F) {
	f.Add(OfIndex(7))
	f.Add(OfSeq(command.Seq(1<<40, command.MaxOrdinal)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, value []byte) {
		write, err := Decode(value)
		if err != nil {
			return
		}
		again := OfIndex(write.Index)
		if len(value) != len(again) {
			again = append(again, OfSeq(write.Seq)[8:]...)
		}
		if !bytes.Equal(again, value) {
			t.Fatalf("%x is taken as %+v, which is %x", value, write, again)
		}
	})
}
