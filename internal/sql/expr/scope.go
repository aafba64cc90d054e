package expr

import (
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Column is one name that an expression may use.
type Column struct {
	Namespace string // of the table; empty for aliased tables and derived rows
	Table     string // table name, or its alias, by which the column may be qualified
	Name      string
	Type      datum.Type
	Position  int  // index in the rows that the expression will be evaluated over
	Hidden    bool // can be named, but * leaves it out
	System    bool // _seq and _deleted of a stored table: * of a view's query leaves them out
	Qualified bool // can be named with its table only, and * leaves it out: USING has merged it
	// Fields are the names of the fields of a composite value, which is an array of them; nil for every other one.
	Fields []string
}

// Scope is the set of names visible to an expression. The zero Scope has none.
type Scope struct {
	columns []Column
	byName  map[string][]int // indexes into columns
}

// NewScope makes a scope of columns. Names may repeat; using a repeated one unqualified is an error.
func NewScope(columns ...Column) *Scope {
	s := &Scope{columns: columns, byName: make(map[string][]int, len(columns))}
	for i := range columns {
		s.byName[columns[i].Name] = append(s.byName[columns[i].Name], i)
	}
	return s
}

// Columns returns the columns in the order given to NewScope. The slice must not be changed.
func (s *Scope) Columns() []Column {
	if s == nil {
		return nil
	}
	return s.columns
}

// Resolve finds the column that a reference names. Errors are fault.InvalidStatement with the position
// of the reference: the column does not exist, or it is ambiguous.
func (s *Scope) Resolve(ref *parse.ColumnRef) (Column, error) {
	var found []int
	if s != nil {
		for _, i := range s.byName[ref.Name] {
			if s.columns[i].matches(ref.Namespace, ref.Table) && (ref.Table != "" || !s.columns[i].Qualified) {
				found = append(found, i)
			}
		}
	}
	name := strings.TrimLeft(ref.Namespace+"."+ref.Table+"."+ref.Name, ".")
	switch {
	case len(found) == 1:
		return s.columns[found[0]], nil
	case len(found) > 1:
		return Column{}, faultAt(ref, fault.InvalidStatement, "column reference %q is ambiguous", name)
	case ref.Table != "" && !s.hasTable(ref.Namespace, ref.Table):
		return Column{}, faultAt(ref, fault.InvalidStatement, "missing FROM-clause entry for table %q of column %q", ref.Table, name)
	}
	return Column{}, faultAt(ref, fault.InvalidStatement, "column %q not found", name)
}

// Expand returns the columns that * or t.* stands for, in order.
func (s *Scope) Expand(star *parse.Star) ([]Column, error) {
	if star.Table != "" && !s.hasTable(star.Namespace, star.Table) {
		return nil, faultAt(star, fault.InvalidStatement, "missing FROM-clause entry for table %q", star.Table)
	}
	var out []Column
	for _, column := range s.Columns() {
		if !column.Hidden && (star.Table != "" || !column.Qualified) && column.matches(star.Namespace, star.Table) {
			out = append(out, column)
		}
	}
	return out, nil
}

// Names reports whether a reference speaks of this scope: of one of its tables, or of a name in it.
func (s *Scope) Names(ref *parse.ColumnRef) bool {
	if ref.Table != "" {
		return s.hasTable(ref.Namespace, ref.Table)
	}
	return s != nil && len(s.byName[ref.Name]) > 0
}

// NamesTable reports whether a reference is the name of a table here, which stands for a whole row.
func (s *Scope) NamesTable(ref *parse.ColumnRef) bool {
	return ref.Table == "" && !s.Names(ref) && s.hasTable("", ref.Name)
}

// WholeRow refuses the name of a table as a value.
func WholeRow(ref *parse.ColumnRef) error {
	return faultAt(ref, fault.Unsupported, "%q is a table here, and its row is no value; name its columns, or use row_to_json(%s)", ref.Name, ref.Name)
}

func (c *Column) matches(namespace, table string) bool {
	return (table == "" || c.Table == table) && (namespace == "" || c.Namespace == namespace)
}

func (s *Scope) hasTable(namespace, table string) bool {
	for i := range s.Columns() {
		if s.columns[i].matches(namespace, table) {
			return true
		}
	}
	return false
}

// faultAt makes an error that points to a node of the syntax tree.
func faultAt(node parse.Node, kind fault.Kind, format string, args ...any) *fault.Error {
	position := node.Position()
	return fault.New(kind, format, args...).At(int(position.Line), int(position.Column))
}

// printedName quotes a name that is not a plain word, so that no name can look like an expression.
func printedName(name string) string {
	for i := range len(name) {
		b := name[i]
		if (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && b != '_' {
			return strconv.Quote(name)
		}
	}
	return name
}

func itoa(i int) string { return strconv.Itoa(i) }

func quoteLiteral(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
