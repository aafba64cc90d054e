package plan_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// picture is a catalog with the tables that the scripts use: shop.items (shared, private), shop.list
// (shared, public), shop.safe (shared, dba), shop.notes (user) and shop.days (shared, with a date as key).
func picture() *catalog.Catalog {
	e := (&catalog.Catalog{}).Edit()
	e.SetCluster(&catalog.Cluster{ID: "test", Shards: shard.Map{UserShards: 4, SharedShards: 1}})
	e.SetNamespace(&catalog.Namespace{Name: "shop"})
	add := func(id ident.TableID, name string, kind schema.TableKind, access schema.AccessLevel, key datum.Kind) {
		descriptor := &schema.Table{ID: id, Namespace: "shop", Name: name, Kind: kind, Access: access, Version: 1, Columns: []schema.Column{
			{ID: 1, Name: "id", Type: datum.Of(key), PrimaryKey: true},
			{ID: 2, Name: "name", Type: datum.Of(datum.Text)},
			{ID: 3, Name: "price", Type: datum.Type{Kind: datum.Decimal, Precision: 10, Scale: 2}, Nullable: true},
			{ID: 4, Name: "stock", Type: datum.Of(datum.Int), Nullable: true, Default: schema.Default{
				Kind: schema.DefaultLiteral, Literal: datum.NewInt(datum.Int, 7),
			}},
		}}
		if kind == schema.KindShared {
			descriptor.Group = shard.SharedShard(0)
		}
		e.SetTable(descriptor)
	}
	add(1, "items", schema.KindShared, schema.AccessPrivate, datum.BigInt)
	add(2, "list", schema.KindShared, schema.AccessPublic, datum.Text)
	add(3, "safe", schema.KindShared, schema.AccessDBA, datum.BigInt)
	add(4, "notes", schema.KindUser, 0, datum.BigInt)
	add(5, "days", schema.KindShared, schema.AccessPublic, datum.Date)
	e.SetUser(&catalog.User{ID: "boss", Role: session.RoleSystem})
	e.SetUser(&catalog.User{ID: "ann", Role: session.RoleUser})
	return e.Picture()
}

func environment(user, word string) *plan.Environment {
	role, _ := session.ParseRole(word)
	caller := session.Session{User: ident.UserID(user), Role: role, Namespace: "shop"}
	return &plan.Environment{
		Catalog: picture(), Views: table.NewSystem(table.SystemOptions{}), DefaultRows: 50, MaxRows: 1000, Caller: caller.Viewpoint(),
	}
}

// TestScripts prints the plan of each statement, or its error. The command plan may be followed by the
// arguments user and role (service when left out); bounds prints the key bounds of a query's only scan.
func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		t.Helper()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			user, word := "svc", "service"
			d.MaybeScanArgs(t, "user", &user)
			d.MaybeScanArgs(t, "role", &word)
			env := environment(user, word)
			known := sizes{}
			for _, argument := range d.CmdArgs {
				if number, err := strconv.ParseFloat(argument.Vals[0], 64); err == nil && argument.Key != "param" {
					known[argument.Key] = number
					env.Sizes = known
				}
				if argument.Key == "param" {
					env.Params = append(env.Params, param(argument.Vals[0]))
				}
			}
			statement, err := parse.Parse(d.Input)
			if err != nil {
				d.Fatalf(t, "parse: %v", err)
			}
			bound, err := plan.Build(env, statement)
			if err != nil {
				return errorText(err)
			}
			switch d.Cmd {
			case "plan":
				return plan.Print(bound) + "\n"
			case "bounds":
				return boundsText(t, env, bound)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

// sizes are the rows of tables by name, and under the name distinct the different values of each of their columns.
type sizes map[string]float64

func (s sizes) Rows(t *schema.Table, _ ident.UserID) (float64, bool) {
	rows, ok := s[t.Name]
	return rows, ok
}

func (s sizes) Distinct(*schema.Table, ident.UserID, int) (float64, bool) {
	values, ok := s["distinct"]
	return values, ok
}

// param reads a parameter as JSON would give it: a number, or text.
func param(word string) datum.Datum {
	if value, err := datum.ParseText(word, datum.Of(datum.BigInt)); err == nil {
		return value
	}
	if value, err := datum.ParseText(word, datum.Of(datum.Double)); err == nil {
		return value
	}
	return datum.NewText(word)
}

func errorText(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Line > 0 {
		return fmt.Sprintf("%s at %d:%d: %v\n", f.Kind, f.Line, f.Column, err)
	}
	return fmt.Sprintf("%s: %v\n", fault.KindOf(err), err)
}

func boundsText(t *testing.T, env *plan.Environment, bound plan.Statement) string {
	t.Helper()
	query, ok := bound.(*plan.Query)
	if !ok || len(query.Scans) != 1 {
		t.Fatalf("bounds needs a query with one scan, got %T", bound)
	}
	scan := query.Scans[0]
	eval := expr.NewEvalContext(&expr.Env{Params: env.Params, User: env.Caller.User()})
	bounds, err := scan.Bounds(eval)
	if err != nil {
		return errorText(err)
	}
	key := scan.Table.Columns[0].Type
	show := func(encoded []byte) string {
		if encoded == nil {
			return "open"
		}
		value, rest, err := datum.DecodeKey(encoded, key)
		if err != nil {
			t.Fatalf("decode bound %x: %v", encoded, err)
		}
		return value.String() + strings.Repeat("+", len(rest))
	}
	if bounds.Points == nil {
		return fmt.Sprintf("[%s, %s)\n", show(bounds.Low), show(bounds.High))
	}
	texts := make([]string, len(bounds.Points))
	for i, point := range bounds.Points {
		texts[i] = show(point)
	}
	return fmt.Sprintf("points %v\n", texts)
}

// TestUnseenTablesAnswerLikeMissingOnes compares the errors word by word.
func TestUnseenTablesAnswerLikeMissingOnes(t *testing.T) {
	t.Parallel()
	statements := []string{
		"SELECT * FROM %s", "SELECT COUNT(*) FROM %s WHERE id = 1", "INSERT INTO %s VALUES (1, 'x')",
		"UPDATE %s SET name = 'x' WHERE id = 1", "DELETE FROM %s WHERE id = 1", "DESCRIBE TABLE %s",
		"SELECT * FROM (SELECT * FROM %s) AS s", "INSERT INTO notes SELECT * FROM %s",
	}
	for _, statement := range statements {
		for _, word := range []string{"user", "service"} {
			unseen := "safe"
			var messages []string
			for _, name := range []string{unseen, "zero"} {
				parsed, err := parse.Parse(fmt.Sprintf(statement, name))
				if err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
				_, err = plan.Build(environment("ann", word), parsed)
				if kind := fault.KindOf(err); kind != fault.TableNotFound {
					t.Errorf("%s as %s: kind %s (%v), want table_not_found", fmt.Sprintf(statement, name), word, kind, err)
					continue
				}
				messages = append(messages, strings.ReplaceAll(err.Error(), name, "NAME"))
			}
			if len(messages) == 2 && messages[0] != messages[1] {
				t.Errorf("%s as %s: the answers differ: %q and %q", statement, word, messages[0], messages[1])
			}
		}
	}
}

// TestRoleMatrix checks who may read and write which table.
func TestRoleMatrix(t *testing.T) {
	t.Parallel()
	const read, write = "SELECT id FROM %s", "DELETE FROM %s WHERE id IS NULL"
	allowed := map[string]map[string]string{ // table -> role -> r, rw or nothing
		"notes": {"user": "rw", "service": "rw", "dba": "rw", "system": "rw"},
		"list":  {"user": "r", "service": "rw", "dba": "rw", "system": "rw"},
		"items": {"user": "", "service": "rw", "dba": "rw", "system": "rw"},
		"safe":  {"user": "", "service": "", "dba": "rw", "system": "rw"},
	}
	for name, roles := range allowed {
		for word, rights := range roles {
			for letter, statement := range map[string]string{"r": read, "w": write} {
				parsed, err := parse.Parse(fmt.Sprintf(statement, name))
				if err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
				_, err = plan.Build(environment("ann", word), parsed)
				if want := strings.Contains(rights, letter); (err == nil) != want {
					t.Errorf("%s on %s as %s: got %v, want allowed=%v", letter, name, word, err, want)
				}
			}
		}
		if err := plan.Authorize(environment("x", "anonymous"), &parse.Query{Body: &parse.Select{}}); fault.KindOf(err) != fault.PermissionDenied {
			t.Errorf("anonymous: got %v, want permission_denied", err)
		}
	}
}

// TestUnfinishedConstraintsKeepNothingUnique adds a constraint while one over the same column is being built, which may fail, or is on its
// way out.
func TestUnfinishedConstraintsKeepNothingUnique(t *testing.T) {
	t.Parallel()
	for state, want := range map[schema.IndexState]bool{schema.IndexBuilding: false, schema.IndexReady: false, schema.IndexRetiring: true, schema.IndexDropping: true} {
		env := environment("boss", "system")
		found, _ := env.Catalog.Table("shop", "items")
		found = found.Clone()
		found.Indexes = []schema.Index{{ID: 1, Name: "items_stock_key", Columns: []uint32{4}, Unique: true, State: state}}
		found.NextIndexID = 2
		e := env.Catalog.Edit()
		e.SetTable(found)
		env.Catalog = e.Picture()
		parsed, err := parse.Parse("ALTER TABLE items ADD UNIQUE (stock)")
		if err != nil {
			t.Fatal(err)
		}
		bound, err := plan.Build(env, parsed)
		if building := state == schema.IndexBuilding; building != (fault.KindOf(err) == fault.Conflict) {
			t.Errorf("beside an index that is %s: %v", state, err)
			continue
		} else if building {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, added := bound.(*plan.Meta); added != want {
			t.Errorf("beside an index that is %s (%d): %+v", state, state, bound)
		}
	}
}
