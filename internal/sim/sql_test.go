package sim

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	caller "github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// This file lets clients speak SQL: the real engine of each node, whose executor is the session that a statement
// belongs to. The tables have rows as SQL makes them, and their descriptors change under traffic.

// sqlTables are the tables of the SQL clients, private and shared.
var sqlTables = []string{"ledger", "board"}

type sessionKey struct{}

// sqlExecutor is the executor of a node's SQL engine: it is the one of the session in the context.
type sqlExecutor struct{}

func sessionOf(ctx context.Context) *session {
	s, _ := ctx.Value(sessionKey{}).(*session)
	return s
}

// Execute implements executor.CommandExecutor.
func (sqlExecutor) Execute(ctx context.Context, group shard.GroupID, cmd *commandv1.Command) (*commandv1.Response, error) {
	r := sessionOf(ctx).executeIn(ctx, group, cmd)
	return r.response, r.err
}

// Barrier implements executor.CommandExecutor.
func (sqlExecutor) Barrier(ctx context.Context, group shard.GroupID) (uint64, error) {
	s := sessionOf(ctx)
	if s.a.w.mutant.skipBarrier(s, group) {
		return s.Applied(group), nil
	}
	return s.executor().Barrier(ctx, group)
}

// sqlClock is the clock of a node's SQL engine: its timers are waited for by the session whose statement runs.
type sqlClock struct{ *simNode }

// NewTimer implements clock.Clock.
func (c sqlClock) NewTimer(d time.Duration) clock.Timer { return c.w.current.s.NewTimer(d) }

// lonely is what system tables would show of a cluster; no statement here asks.
type lonely struct{}

// Nodes implements table.ClusterView.
func (lonely) Nodes(context.Context) ([]table.ClusterNode, error) { return nil, nil }

// Groups implements table.ClusterView.
func (lonely) Groups(context.Context) ([]table.ClusterGroup, error) { return nil, nil }

// Check implements exec.Passwords.
func (lonely) Check(string) error { return nil }

// Hash implements exec.Passwords.
func (lonely) Hash(context.Context, string) (string, error) {
	return "", errors.New("nobody has a password")
}

// engine returns the SQL engine of this life of a node.
func (n *simNode) engine() *exec.Engine {
	if n.sql != nil {
		return n.sql
	}
	engine, err := exec.New(exec.Deps{
		Catalog: n.catalog, Storage: n.store, Executor: sqlExecutor{}, Clock: sqlClock{n}, Cluster: lonely{}, Passwords: lonely{},
		Random: n.w.random, Node: n.id, Cold: n.cold.store,
	})
	if err != nil {
		n.w.fail("the SQL engine of node %d: %v", n.id, err)
	}
	n.sql = engine
	return engine
}

// sql runs statements at this session's node. The outcome is unknown when the node ended meanwhile.
func (s *session) sql(user string, statements ...string) (rows [][]datum.Datum, err error) {
	statements, transaction := s.a.w.mutant.speaks(s.a.w, statements)
	var response *exec.Response
	err = s.guarded(func() (failed error) {
		response, failed = s.n.engine().Execute(s, exec.Request{
			SQL: strings.Join(statements, "; "), Transaction: transaction,
			Session: caller.Session{User: ident.UserID(user), Role: caller.RoleDBA, Namespace: "default"},
		})
		return failed
	})
	s.a.w.stats.statements++
	if err != nil {
		return nil, err
	}
	for _, result := range response.Results {
		rows = append(rows, result.Rows...)
	}
	return rows, nil
}

// sqlSetUp makes the tables.
func (c *clients) sqlSetUp(a *actor) {
	c.makeBucket(a)
	for i, name := range sqlTables {
		kind := []string{"USER", "SHARED"}[i]
		for there := false; !there; a.pause() {
			a.request(func(s *session) {
				_, err := s.sql(c.users[0], fmt.Sprintf("CREATE %s TABLE IF NOT EXISTS %s (id TEXT PRIMARY KEY, tag TEXT, n BIGINT)%s", kind, name, c.w.placeOf(i)))
				if t, ok := s.n.catalog.Current().Table("default", name); ok && err == nil {
					there = true
					c.w.sqlIDs[uint64(t.ID)] = true
				}
			})
		}
	}
}

// bySQL begins the clients that speak SQL.
func (c *clients) bySQL() {
	c.w.spawn("sql set up", func(a *actor) {
		c.sqlSetUp(a)
		for i := range 2 {
			c.w.spawn(fmt.Sprintf("sql writer%d", i), c.sqlWrite)
		}
		c.w.spawn("sql reader", c.sqlCompare)
		c.w.spawn("sql transfers", c.sqlTransfer)
		c.w.spawn("sql alter", c.sqlAlter)
		if c.w.opt.cold {
			c.w.spawn("cold boss", c.orderCold)
			c.w.spawn("shed", c.shed)
		}
		if c.w.opt.backups {
			c.w.spawn("backup boss", c.orderBackups)
		}
	})
}

func (c *clients) sqlWho() (user, name string) {
	return c.users[c.w.rng.IntN(len(c.users))], sqlTables[c.w.rng.IntN(len(sqlTables))]
}

// sqlWrite inserts, updates and deletes rows, by key and by tag.
func (c *clients) sqlWrite(a *actor) {
	for ; c.busy; a.rest() {
		user, name := c.sqlWho()
		c.serial++
		id, tag := c.w.rng.IntN(8), c.w.rng.IntN(3)
		statement := [...]string{
			"INSERT INTO %[1]s (id, tag, n) VALUES ('k%[2]d', 't%[3]d', %[4]d) ON CONFLICT (id) DO UPDATE SET tag = 't%[3]d', n = %[4]d",
			"INSERT INTO %[1]s (id, tag, n) VALUES ('k%[2]d', 't%[3]d', %[4]d) ON CONFLICT (id) DO UPDATE SET tag = 't%[3]d', n = %[4]d",
			"UPDATE %[1]s SET n = %[4]d WHERE id = 'k%[2]d'",
			"UPDATE %[1]s SET tag = 't%[3]d' WHERE id = 'k%[2]d'",
			"DELETE FROM %[1]s WHERE id = 'k%[2]d'",
		}[c.w.rng.IntN(5)]
		a.request(func(s *session) { c.judgeSQL(s.sql(user, fmt.Sprintf(statement, name, id, tag, c.serial))) })
	}
}

// judgeSQL ends the run when a statement failed for a reason that no fault gives.
func (c *clients) judgeSQL(_ [][]datum.Datum, err error) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	if kind := fault.KindOf(err); kind == fault.Internal || kind == fault.InvalidStatement {
		c.w.fail("a statement fails: %v", err)
	}
}

// sqlCompare reads a table twice in one transaction: by a column that may have an index, and all of it.
func (c *clients) sqlCompare(a *actor) {
	for ; c.busy; a.rest() {
		user, name := c.sqlWho()
		tag := "t" + strconv.Itoa(c.w.rng.IntN(3))
		a.request(func(s *session) {
			rows, err := s.sql(user, "BEGIN", fmt.Sprintf("SELECT id, n FROM %s WHERE tag = '%s' ORDER BY id", name, tag),
				fmt.Sprintf("SELECT id, n, tag FROM %s ORDER BY id", name), "COMMIT")
			c.judgeSQL(rows, err)
			if err != nil {
				return
			}
			var found, all []string
			for _, row := range rows {
				switch text := row[0].Str() + "=" + row[1].String(); {
				case len(row) == 2:
					found = append(found, text)
				case row[2].Str() == tag:
					all = append(all, text)
				}
			}
			if strings.Join(found, " ") != strings.Join(all, " ") {
				c.w.fail("node %d finds %v in %s by tag %s, the table has %v", s.n.id, found, name, tag, all)
			}
			c.w.stats.compared++
		})
	}
}

// accounts of the transfers, and what lies in each at the beginning.
const (
	sqlAccounts = 4
	sqlMoney    = 100
)

// sqlTransfer moves money between rows in transactions of several statements, and looks whether the sum stays.
func (c *clients) sqlTransfer(a *actor) {
	user, name := c.users[1], sqlTables[0]
	var open []string
	for i := range sqlAccounts {
		open = append(open, fmt.Sprintf("('account%d', 'money', %d)", i, sqlMoney))
	}
	begin := fmt.Sprintf("INSERT INTO %s (id, tag, n) VALUES %s ON CONFLICT (id) DO NOTHING", name, strings.Join(open, ", "))
	for ready := false; c.busy && !ready; a.pause() {
		a.request(func(s *session) {
			_, err := s.sql(user, begin)
			c.judgeSQL(nil, err)
			ready = err == nil
		})
	}
	for ; c.busy; a.rest() {
		from, to, amount := c.w.rng.IntN(sqlAccounts), c.w.rng.IntN(sqlAccounts), c.w.rng.IntN(10)
		a.request(func(s *session) {
			c.judgeSQL(s.sql(user, "BEGIN", fmt.Sprintf("UPDATE %s SET n = n - %d WHERE id = 'account%d'", name, amount, from),
				fmt.Sprintf("UPDATE %s SET n = n + %d WHERE id = 'account%d'", name, amount, to), "COMMIT"))
		})
		a.request(func(s *session) {
			rows, err := s.sql(user, fmt.Sprintf("SELECT n FROM %s WHERE tag = 'money'", name))
			c.judgeSQL(rows, err)
			if err != nil {
				return
			}
			sum := int64(0)
			for _, row := range rows {
				sum += row[0].Int()
			}
			if sum != sqlAccounts*sqlMoney || len(rows) != sqlAccounts {
				c.w.fail("node %d sees %d in %d accounts of SQL, want %d in %d", s.n.id, sum, len(rows), sqlAccounts*sqlMoney, sqlAccounts)
			}
		})
	}
}

// sqlAlter changes the descriptors of the tables: indexes and columns come and go.
func (c *clients) sqlAlter(a *actor) {
	statements := []string{
		"CREATE INDEX %[1]s_tag ON %[1]s (tag)", "DROP INDEX %[1]s_tag", "CREATE INDEX %[1]s_n ON %[1]s (n, tag)",
		"ALTER TABLE %[1]s ADD COLUMN more%[2]d TEXT DEFAULT 'x'", "ALTER TABLE %[1]s DROP COLUMN more%[2]d",
		"CREATE INDEX %[1]s_tag ON %[1]s (tag)", "DROP INDEX %[1]s_n", "ALTER TABLE %[1]s ALTER COLUMN tag SET NOT NULL",
		"ALTER TABLE %[1]s ALTER COLUMN tag DROP NOT NULL",
	}
	for ; c.busy; a.rest() {
		user, name := c.sqlWho()
		statement := fmt.Sprintf(statements[c.w.rng.IntN(len(statements))], name, c.w.rng.IntN(3))
		a.request(func(s *session) {
			if _, err := s.sql(user, statement); err == nil {
				c.w.stats.altered++
				c.w.trace.event("node %d: %s", s.n.id, statement)
			}
		})
	}
}
