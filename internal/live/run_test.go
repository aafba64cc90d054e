package live

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
)

// TestRunsEndWithCommands: what is handed over at once is bounded in number and bytes, and never less than what one command changed.
func TestRunsEndWithCommands(t *testing.T) {
	t.Parallel()
	var changes []changefeed.Change
	command := func(index uint64, rows, bytesEach int) {
		for i := range rows {
			changes = append(changes, changefeed.Change{Seq: index<<16 | uint64(i), New: make([]byte, bytesEach)})
		}
	}
	for _, c := range []struct {
		name string
		make func()
		want []int
	}{
		{"nothing", func() {}, nil},
		{"small commands", func() {
			for i := range uint64(2*runLength + 1) {
				command(i, 1, 10)
			}
		}, []int{runLength, runLength, 1}},
		{"large rows", func() {
			for i := range uint64(5) {
				command(i, 1, runBytes/2)
			}
		}, []int{2, 2, 1}},
		{"large commands", func() {
			command(1, 3*runLength, 10)
			command(2, 4, runBytes)
			command(3, 1, 10)
		}, []int{3 * runLength, 4, 1}},
	} {
		changes = nil
		c.make()
		var got []int
		for rest := changes; len(rest) > 0; {
			n := runEnd(rest)
			got, rest = append(got, n), rest[n:]
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: runs of %d changes, want %d", c.name, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: runs of %d changes, want %d", c.name, got, c.want)
			}
		}
	}
}
