package applier

import (
	"fmt"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestRestoreBehindAHigherTokenIsRefused writes rows as runs of a restore do, each of which has lost its job to the next: what the earlier one had
// under way is refused from the first row of the later one on. Statements carry no token and always come through.
func TestRestoreBehindAHigherTokenIsRefused(t *testing.T) {
	t.Parallel()
	l := newColdLab(t)
	write := func(key string, token uint64) (fault.Kind, bool) {
		t.Helper()
		return l.apply(&commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{
			Rows: []*commandv1.RowWrite{{TableId: 9, PrimaryKey: []byte(key), Row: []byte{1, 1}}}, RestoreToken: token,
		}}})
	}
	for _, c := range []struct {
		key   string
		token uint64
		want  bool
	}{{"a", 5, true}, {"b", 5, true}, {"c", 7, true}, {"a", 5, false}, {"d", 6, false}, {"e", 0, true}, {"f", 7, true}} {
		kind, ok := write(c.key, c.token)
		if ok != c.want || !ok && kind != fault.Conflict {
			t.Errorf("%s under token %d: %v %v, want %v", c.key, c.token, ok, kind, c.want)
		}
	}
	for key, want := range map[string]bool{"a": true, "b": true, "c": true, "d": false, "e": true, "f": true} {
		if l.hot(key) != want {
			t.Errorf("key %s is there: %v", key, !want)
		}
	}
}

// TestRestoredGroupNumbersFromItsOrigin wants rows behind a restore to have ordinals from the origin on, also after a restart; a command of so many rows
// that these would not be enough begins lower, and none is refused.
func TestRestoredGroupNumbersFromItsOrigin(t *testing.T) {
	t.Parallel()
	const origin = 40_000
	l := newColdLab(t)
	ordinal := func(key string) uint64 {
		t.Helper()
		value, found, err := l.engine.Get(keys.Row(l.data.group, 9, "", []byte(key)))
		check(t, err)
		if !found {
			t.Fatalf("there is no row %s", key)
		}
		seq, _, _, err := rowvalue.Decode(value)
		check(t, err)
		if command.SeqIndex(seq) != l.index {
			t.Fatalf("row %s was written at %d, not at %d", key, command.SeqIndex(seq), l.index)
		}
		return seq & command.MaxOrdinal
	}
	write := func(count int, token uint64) {
		t.Helper()
		body := &commandv1.WriteRows{RestoreToken: token}
		if token > 0 {
			body.RestoreOrigin = origin
		}
		for i := range count {
			body.Rows = append(body.Rows, &commandv1.RowWrite{TableId: 9, PrimaryKey: fmt.Appendf(nil, "k%d", i), Row: []byte{1, 1}})
		}
		if kind, ok := l.apply(&commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: body}}); !ok {
			t.Fatalf("%d rows under token %d: %v", count, token, kind)
		}
	}
	write(2, 0)
	if ordinal("k0") != 0 || ordinal("k1") != 1 {
		t.Errorf("before the restore: %d, %d", ordinal("k0"), ordinal("k1"))
	}
	write(0, 5) // how a restore begins
	write(2, 5)
	if ordinal("k0") != origin || ordinal("k1") != origin+1 {
		t.Errorf("rows of the restore: %d, %d", ordinal("k0"), ordinal("k1"))
	}
	l.data = NewData(l.data.group, changelog.DefaultRetention(), nil)
	check(t, l.data.Restore(l.engine))
	write(1, 0)
	if ordinal("k0") != origin {
		t.Errorf("after a restart: %d", ordinal("k0"))
	}
	write(command.MaxRows, 0)
	if ordinal("k0") != 0 || ordinal("k65535") != command.MaxOrdinal {
		t.Errorf("as many rows as there are ordinals: %d to %d", ordinal("k0"), ordinal("k65535"))
	}
	write(0, 7)
	write(1, 0)
	if ordinal("k0") != origin {
		t.Errorf("after the next run: %d", ordinal("k0"))
	}
}
