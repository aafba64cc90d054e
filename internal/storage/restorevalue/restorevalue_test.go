package restorevalue

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/command"
)

// TestMarks keeps both forms and tells numbers of other clusters from own ones.
func TestMarks(t *testing.T) {
	t.Parallel()
	for _, m := range []Mark{{}, {Token: 7}, {Token: 1 << 60, Origin: 40_000}, {Token: 1, Origin: command.MaxOrdinal}} {
		got, err := Decode(m.Encode())
		if err != nil || got != m {
			t.Errorf("%+v becomes %+v, %v", m, got, err)
		}
	}
	for _, value := range [][]byte{nil, make([]byte, 7), make([]byte, 9), make([]byte, 11)} {
		if got, err := Decode(value); err == nil {
			t.Errorf("%d bytes are %+v", len(value), got)
		}
	}
	m := Mark{Token: 1, Origin: 40_000}
	for ordinal, want := range map[int]bool{0: true, 39_999: true, 40_000: false, command.MaxOrdinal: false} {
		if m.Foreign(command.Seq(12, ordinal)) != want {
			t.Errorf("ordinal %d: foreign is not %v", ordinal, want)
		}
	}
	if (Mark{Token: 3}).Foreign(command.Seq(12, 0)) {
		t.Error("without an origin everything may be own")
	}
}
