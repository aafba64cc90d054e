package exec_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// TestSmallLeftInputBoundsTheRight gives a query less memory than the right table takes, so that it runs only when
// the rows that cannot match are neither read nor kept.
func TestSmallLeftInputBoundsTheRight(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{QueryMemoryBytes: 200 << 10} })
	n.must(t, "CREATE TABLE big (id BIGINT PRIMARY KEY, other BIGINT, note TEXT)")
	n.must(t, "CREATE TABLE small (id BIGINT PRIMARY KEY, big_id BIGINT)")
	const rows = 3000
	for first := 0; first < rows; first += 500 {
		values := make([]string, 0, 500)
		for id := first; id < first+500; id++ {
			values = append(values, fmt.Sprintf("(%d, %d, '%s')", id, rows-id, strings.Repeat("n", 100)))
		}
		n.must(t, "INSERT INTO big VALUES "+strings.Join(values, ", "))
	}
	n.must(t, "INSERT INTO small VALUES (3, 7), (1, 2999), (2, NULL), (4, 7), (5, 100000)")
	as := caller("admin", session.RoleDBA)
	for sql, want := range map[string]string{
		"SELECT s.id, b.id, LENGTH(b.note) FROM small s JOIN big b ON b.id = s.big_id":                  "1|2999|100\n3|7|100\n4|7|100\n",
		"SELECT s.id, b.id, LENGTH(b.note) FROM small s JOIN big b ON b.other = s.big_id":               "1|1|100\n3|2993|100\n4|2993|100\n",
		"SELECT s.id, b.id FROM small s LEFT JOIN big b ON b.id = s.big_id AND b.note <> ''":            "1|2999\n2|NULL\n3|7\n4|7\n5|NULL\n",
		"SELECT s.id, b.id FROM small s JOIN big b ON b.id = s.big_id AND b.id < 100 AND b.note <> ''":  "3|7\n4|7\n",
		"SELECT s.id, b.id FROM small s JOIN big b ON b.id = s.big_id WHERE b.id IN (7, 8)":             "3|7\n4|7\n",
		"SELECT s.id FROM small s JOIN big b ON b.id = s.big_id AND b.note = s.id::TEXT":                "",
		"SELECT s.id, b.id FROM (SELECT * FROM small WHERE id > 100) s JOIN big b ON b.id = s.big_id":   "",
		"SELECT s.id, b.id FROM small s JOIN big b ON b.id = s.big_id + 1 AND b.other = 3000 - b.id":    "3|8\n4|8\n",
		"SELECT s.id, b.id FROM small s JOIN big b ON b.id::DECIMAL(10,1) = s.big_id::DECIMAL(10,0)":    "1|2999\n3|7\n4|7\n",
		"SELECT s.id, b.id FROM small s JOIN big b ON b.id = s.big_id ORDER BY s.id DESC, b.id LIMIT 1": "4|7\n",
	} {
		response, err := n.run(t, as, sql)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		if got := text(t, response); got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", sql, got, want)
		}
	}
	_, err := n.run(t, as, "SELECT b.id, b.note FROM small s RIGHT JOIN big b ON b.id = s.big_id ORDER BY b.id LIMIT 1")
	if fault.KindOf(err) != fault.LimitExceeded {
		t.Errorf("a right join, which keeps every row, gave %v, want a refusal", err)
	}
}

// TestJoinsOfManyLeftRowsEqualThoseOfFew joins the same rows in one go and in slices that are small enough to be read
// ahead, by keys of every shape.
func TestJoinsOfManyLeftRowsEqualThoseOfFew(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
	n.must(t, "CREATE TABLE l (id BIGINT PRIMARY KEY, i INT, t TEXT, d DOUBLE)")
	n.must(t, "CREATE TABLE r (id BIGINT PRIMARY KEY, i BIGINT, t TEXT, d DOUBLE)")
	const rows = 2600
	for _, name := range []string{"l", "r"} {
		values := make([]string, rows)
		for id := range values {
			key := id * 7 % 1500
			values[id] = fmt.Sprintf("(%d, %d, 'k%d', %d.5)", id, key, key, key)
			if id%10 == 0 {
				values[id] = fmt.Sprintf("(%d, NULL, NULL, NULL)", id)
			}
		}
		n.must(t, "INSERT INTO "+name+" VALUES "+strings.Join(values, ", "))
	}
	for _, on := range []string{"l.i = r.i", "l.t = r.t", "l.d = r.d", "l.i = r.i AND l.t = r.t", "l.id = r.id", "l.i = r.id"} {
		for _, kind := range []string{"JOIN", "LEFT JOIN"} {
			query := fmt.Sprintf("SELECT l.id, r.id FROM l %s r ON %s", kind, on)
			want := text(t, n.must(t, query))
			var got strings.Builder
			for first := int64(0); first < rows; first += 700 {
				got.WriteString(text(t, n.must(t, query+" WHERE l.id >= $1 AND l.id < $2", datum.NewBigInt(first), datum.NewBigInt(first+700))))
			}
			if got.String() != want {
				t.Errorf("%s: %d bytes in slices, %d bytes at once", query, got.Len(), len(want))
			}
			if strings.Count(want, "\n") < 1000 {
				t.Errorf("%s gave only %d rows", query, strings.Count(want, "\n"))
			}
		}
	}
}
