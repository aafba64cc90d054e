package schema

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

func TestNamesRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "1a", "_a", "a-b", "a b", "a.b", "ä", "a\x00", strings.Repeat("a", 65)} {
		for what, err := range map[string]error{"column": CheckName("column", name), "table": CheckObjectName("table", name)} {
			if fault.KindOf(err) != fault.InvalidStatement || err == nil {
				t.Errorf("%s %q: %v, want an invalid statement", what, name, err)
			}
		}
	}
	for _, name := range []string{"select", "SELECT", "Table", "view", "lateral", "CURRENT_USER"} {
		if err := CheckObjectName("table", name); fault.KindOf(err) != fault.InvalidStatement || err == nil {
			t.Errorf("table %q: %v, want an invalid statement", name, err)
		}
	}
	for _, name := range []string{"system", "SYS", "default", "kalamdb", "information_schema", "pg_catalog"} {
		if !IsReservedNamespace(name) {
			t.Errorf("namespace %q is free", name)
		}
	}
	for _, name := range []string{"_seq", "_DELETED", "_id", "_row_id", "_hash"} {
		if !IsReservedColumn(name) {
			t.Errorf("column %q is free", name)
		}
	}
}

func TestNamesAccepted(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "A_1", "users", "user", "user_id", "key", "value", "timestamp", "type", strings.Repeat("a", 64)} {
		if err := CheckObjectName("table", name); err != nil {
			t.Errorf("table: %v", err)
		}
	}
	if err := CheckName("column", "order"); err != nil {
		t.Errorf("column: %v", err)
	}
	for _, name := range []string{"app", "dba", "chat2"} {
		if IsReservedNamespace(name) {
			t.Errorf("namespace %s is reserved", name)
		}
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		column Column
		want   []string
	}{
		{Column{Nullable: true}, nil},
		{Column{}, []string{"nn"}},
		{Column{PrimaryKey: true}, []string{"pk", "nn", "uq"}},
		{Column{Unique: true, Nullable: true}, []string{"uq"}},
		{Column{Unique: true}, []string{"nn", "uq"}},
	} {
		if diff := cmp.Diff(c.want, c.column.Flags()); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.column, diff)
		}
	}
}

func TestWithSystemColumns(t *testing.T) {
	t.Parallel()
	for kind, want := range map[TableKind]string{
		KindUser: "id title price done _seq _deleted", KindStream: "id title price done _seq _deleted", KindSystem: "id title price done",
	} {
		table := testTable()
		table.Kind = kind
		var names []string
		for _, column := range WithSystemColumns(table) {
			names = append(names, column.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s table: %s, want %s", kind, got, want)
		}
		if len(table.Columns) != 4 || table.Columns[0].Type != datum.Of(datum.BigInt) {
			t.Errorf("the descriptor changed: %+v", table.Columns)
		}
	}
}
