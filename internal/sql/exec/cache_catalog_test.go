package exec_test

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

// TestCachedPlansEndWithTheirCatalog runs one text over and over while its table goes, comes back in another form and
// while another caller asks the same. The last two values of a row are its _seq and _deleted.
func TestCachedPlansEndWithTheirCatalog(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	const query = "SELECT * FROM things WHERE id = $1"
	key := datum.NewBigInt(1)
	ask := func(want string) {
		t.Helper()
		for range 3 { // planned once, then from the cache
			if got := text(t, n.must(t, query, key)); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	n.must(t, "CREATE TABLE things (id INT PRIMARY KEY, name TEXT); INSERT INTO things VALUES (1, 'first')")
	ask("1|first|65536|f\n")
	n.must(t, "DROP TABLE things")
	if _, err := n.run(t, caller("admin", session.RoleDBA), query, key); fault.KindOf(err) != fault.TableNotFound {
		t.Errorf("a dropped table gave %v", err)
	}
	n.must(t, "CREATE TABLE things (id BIGINT PRIMARY KEY, size DOUBLE, name TEXT); INSERT INTO things VALUES (1, 2.5, 'second')")
	ask("1|2.5|second|131072|f\n")
	n.must(t, "CREATE NAMESPACE elsewhere")
	n.must(t, "CREATE TABLE elsewhere.things (id INT PRIMARY KEY); INSERT INTO elsewhere.things VALUES (1)")
	there := caller("admin", session.RoleDBA)
	there.Namespace = "elsewhere"
	if got := text(t, n.mustAs(t, there, query, key)); got != "1|196608|f\n" {
		t.Errorf("in another namespace: %q", got)
	}
	ask("1|2.5|second|131072|f\n")
	n.must(t, "CREATE USER TABLE own (id INT PRIMARY KEY)")
	alice, bob := caller("alice", session.RoleUser), caller("bob", session.RoleUser)
	n.mustAs(t, alice, "INSERT INTO own VALUES (1)")
	for range 3 {
		if got := text(t, n.mustAs(t, alice, "SELECT id FROM own")); got != "1\n" {
			t.Errorf("alice has %q", got)
		}
		if got := text(t, n.mustAs(t, bob, "SELECT id FROM own")); got != "" {
			t.Errorf("bob has %q, the rows of a plan made for alice", got)
		}
	}
}
