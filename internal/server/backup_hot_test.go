package server

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

// hotRows fills tables for backups.
type hotRows struct {
	t      *testing.T
	random *rand.ChaCha8
}

func (h hotRows) body() string {
	body := make([]byte, 150)
	_, _ = h.random.Read(body) // it never fails
	return hex.EncodeToString(body)
}

// insert writes every second id of a range.
func (h hotRows) insert(c client, table string, from, to int) {
	h.t.Helper()
	for from < to {
		var rows []string
		for ; from < to && len(rows) < 250; from += 2 {
			rows = append(rows, fmt.Sprintf("(%d, '%s')", from, h.body()))
		}
		c.sql("INSERT INTO " + table + " VALUES " + strings.Join(rows, ", "))
	}
}

// newIncremental makes a node with few groups, and an empty place for its backups.
func newIncremental(t *testing.T) (*incremental, client) {
	t.Helper()
	n, root := oneNode(t, func(cfg *config.Config) {
		withShards(1, 1)(cfg)
		cfg.Auth.UserCleanupDelaySecs = 1
	})
	place, err := objstore.OpenDir(vfs.NewMem(), "/backups")
	if err != nil {
		t.Fatal(err)
	}
	root.sql("CREATE NAMESPACE app")
	return &incremental{t: t, n: n, place: place}, root
}

// TestHotRowsThatDidNotChangeAreNotRead changes a few hot rows of a shared table and of a private one: of the other rows of the same table, and the same user,
// only those in their chunks are read again, whether the store has them in memory or in tables. When nobody knows what
// changed, all are.
func TestHotRowsThatDidNotChangeAreNotRead(t *testing.T) {
	t.Parallel()
	i, root := newIncremental(t)
	h := hotRows{t, rand.NewChaCha8([32]byte{3})}
	root.sql("CREATE SHARED TABLE app.hot (id BIGINT PRIMARY KEY, body TEXT)")
	root.sql("CREATE USER TABLE app.own (id BIGINT PRIMARY KEY, body TEXT)")
	h.insert(root, "app.hot", 0, 3000)
	h.insert(root, "app.own", 0, 2000)
	const all, few = 1500 + 1000, 500 // chunks of at most 128 KiB have some 400 rows
	if read, _ := i.again("the first"); read != all {
		t.Errorf("the first backup reads %d rows", read)
	}
	for step, change := range []string{
		"UPDATE app.hot SET body = 'new' WHERE id = 1500", "INSERT INTO app.hot VALUES (1501, 'between')", "DELETE FROM app.hot WHERE id = 2500",
		"INSERT INTO app.hot VALUES (9001, 'behind')", "UPDATE app.own SET body = 'new' WHERE id = 1500", "DELETE FROM app.own WHERE id = 10",
	} {
		root.sql(change)
		if step%2 == 1 {
			if err := i.n.store.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if read, written := i.again(change); read == 0 || read > few || written == 0 {
			t.Errorf("%s: %d rows are read, and %d bytes written", change, read, written)
		}
	}
	completed(t, i.n, root, "STORAGE FLUSH TABLE app.hot")
	i.again("they are cold")
	h.insert(root, "app.hot", 3, 1403)
	i.again("there are hot ones again")
	root.sql("UPDATE app.hot SET body = 'new' WHERE id = 703")
	if read, _ := i.again("one of them changed"); read == 0 || read > few+few {
		t.Errorf("of hot rows beside cold ones %d are read", read)
	}
	if read, written := i.again("nothing changed"); read != 0 || written != 0 {
		t.Errorf("a backup of what did not change reads %d rows and writes %d bytes", read, written)
	}
	root.cluster("CLUSTER RETAIN CHANGES ENTRIES 4 ON GROUP 200")
	root.sql("UPDATE app.hot SET body = 'new' WHERE id BETWEEN 500 AND 520")
	if read, _ := i.again("the log of changes forgot what changed"); read < 700 {
		t.Errorf("only %d rows are read when nobody knows which changed", read)
	}
	root.sql("UPDATE app.hot SET body = 'newer' WHERE id = 503")
	if read, _ := i.again("it knows again"); read == 0 || read > few+few {
		t.Errorf("%d rows are read", read)
	}
}

// TestRowsThatAreGoneLeaveBackups removes hot rows without a trace and writes others to the same place: those of a dropped user whose name another account
// has by now, of a name that never had one, and of a stream table. Each backup holds what one at an empty place does, and none of them.
func TestRowsThatAreGoneLeaveBackups(t *testing.T) {
	t.Parallel()
	i, root := newIncremental(t)
	h := hotRows{t, rand.NewChaCha8([32]byte{4})}
	root.sql("CREATE USER TABLE app.own (id BIGINT PRIMARY KEY, body TEXT)")
	root.sql("CREATE STREAM TABLE app.now (id BIGINT PRIMARY KEY, body TEXT) WITH (TTL_SECONDS = 86400)")
	const password = "Secret-of-ann-1"
	root.sql("CREATE USER ann WITH PASSWORD '" + password + "' ROLE user")
	ann := login(t, i.n, "ann", password)
	h.insert(ann, "app.own", 0, 1200)
	h.insert(root, "app.now", 0, 1200)
	h.insert(root, "app.own", 0, 1200)
	ghost := func(rows int) {
		t.Helper()
		for id := range rows {
			root.sql(fmt.Sprintf("EXECUTE AS USER 'ghost' (INSERT INTO app.own VALUES (%d, '%s') ON CONFLICT DO NOTHING)", id, h.body()))
		}
	}
	ghost(20)
	i.again("the first")
	root.sql("CREATE USER ghost WITH PASSWORD '" + password + "' ROLE user")
	root.sql("DROP USER ghost")
	waitJob(t, i.n, cleanupOfUser(t, i.n), "completed", inState(catalog.JobCompleted))
	ghost(1)
	i.again("a name without an account had one meanwhile")
	root.sql("DELETE FROM app.now WHERE id < 700")
	h.insert(root, "app.now", 3000, 3010)
	i.again("rows of a stream table are deleted, and others written")
	root.sql("DROP USER ann")
	waitJob(t, i.n, cleanupOfUser(t, i.n), "completed", inState(catalog.JobCompleted))
	root.sql("CREATE USER ann WITH PASSWORD '" + password + "' ROLE user")
	ann = login(t, i.n, "ann", password)
	h.insert(ann, "app.own", 1000, 1004)
	if read, _ := i.again("another account has the name"); read == 0 {
		t.Error("nothing is read")
	}
	if got := ann.grid("SELECT count(*) FROM app.own"); got != "2" {
		t.Errorf("the new account has %s rows", got)
	}
	root.sql("UPDATE app.own SET body = 'x' WHERE id = 600")
	i.again("another user's row changed")
}

// TestIncrementsEqualWholeBackups changes tables at random and compares each backup with one at an empty place.
func TestIncrementsEqualWholeBackups(t *testing.T) {
	t.Parallel()
	i, root := newIncremental(t)
	h := hotRows{t, rand.NewChaCha8([32]byte{5})}
	r := rand.New(rand.NewPCG(5, 6))
	root.sql("CREATE SHARED TABLE app.a (id BIGINT PRIMARY KEY, body TEXT)")
	root.sql("CREATE SHARED TABLE app.b (id BIGINT PRIMARY KEY, body TEXT)")
	root.sql("CREATE USER TABLE app.own (id BIGINT PRIMARY KEY, body TEXT)")
	tables := []string{"app.a", "app.b", "app.own"}
	for _, table := range tables {
		h.insert(root, table, 0, 800)
	}
	next := 801
	for round := range 12 {
		for range 1 + r.IntN(4) {
			table, id := tables[r.IntN(len(tables))], r.IntN(next)
			switch r.IntN(9) {
			case 0, 1:
				root.sql(fmt.Sprintf("UPDATE %s SET body = '%s' WHERE id BETWEEN %d AND %d", table, h.body(), id, id+r.IntN(9)))
			case 2, 3:
				root.sql(fmt.Sprintf("DELETE FROM %s WHERE id BETWEEN %d AND %d", table, id, id+r.IntN(9)))
			case 4, 5:
				h.insert(root, table, next, next+20)
				next += 21
			case 6:
				root.sql(fmt.Sprintf("INSERT INTO %s VALUES (%d, 'again') ON CONFLICT (id) DO UPDATE SET body = 'again'", table, id))
			case 7:
				if err := i.n.store.Flush(); err != nil {
					t.Fatal(err)
				}
			case 8:
				_, name, _ := strings.Cut(table, ".")
				if _, err := i.n.flusher().Table(t.Context(), mustTable(t, i.n, "app", name), nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		i.again(fmt.Sprintf("round %d", round))
	}
}
