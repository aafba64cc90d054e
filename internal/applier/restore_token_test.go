package applier

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/fault"
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
