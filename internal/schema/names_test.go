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
	for _, name := range []string{
		"", "1a", "_a", "a-b", "a b", "a.b", "ä", "a\x00", "select", "SELECT", "Table", strings.Repeat("a", 65),
	} {
		if err := ValidateIdentifier("table", name); fault.KindOf(err) != fault.InvalidStatement || err == nil {
			t.Errorf("table %q: %v, want an invalid statement", name, err)
		}
	}
	for _, name := range []string{"system", "SYS", "default", "kalamdb", "information_schema", "pg_catalog", "_x"} {
		if err := ValidateNamespaceName(name); fault.KindOf(err) != fault.InvalidStatement || err == nil {
			t.Errorf("namespace %q: %v, want an invalid statement", name, err)
		}
	}
	for _, name := range []string{"_seq", "_DELETED", "_id", "_row_id", "_hash", "order"} {
		if err := ValidateColumnName(name); fault.KindOf(err) != fault.InvalidStatement || err == nil {
			t.Errorf("column %q: %v, want an invalid statement", name, err)
		}
	}
}

func TestNamesAccepted(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "A_1", "users", "user_id", "key", "value", "timestamp", "type", strings.Repeat("a", 64)} {
		if err := ValidateColumnName(name); err != nil {
			t.Errorf("column: %v", err)
		}
	}
	for _, name := range []string{"app", "dba", "chat2"} {
		if err := ValidateNamespaceName(name); err != nil {
			t.Errorf("namespace: %v", err)
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
