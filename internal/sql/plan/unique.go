package plan

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// uniqueConstraints gives a new table a unique index for every UNIQUE of its declaration, first those of columns. A
// constraint over the same columns as the primary key or as an earlier one needs no second index.
func (e *Environment) uniqueConstraints(node *parse.CreateTable, descriptor *schema.Table) error {
	for i := range node.Columns {
		definition := &node.Columns[i]
		if !definition.Unique {
			continue
		}
		columns := []parse.Ident{{Pos: definition.Pos, Name: definition.Name}}
		if err := e.uniqueConstraint(definition, definition.UniqueName, columns, descriptor); err != nil {
			return err
		}
	}
	for i := range node.Constraints {
		constraint := &node.Constraints[i]
		if constraint.Kind != parse.UniqueConstraint {
			continue
		}
		if err := e.uniqueConstraint(constraint, constraint.Name, constraint.Columns, descriptor); err != nil {
			return err
		}
	}
	return nil
}

func (e *Environment) uniqueConstraint(node parse.Node, name string, columns []parse.Ident, descriptor *schema.Table) error {
	if descriptor.Kind == schema.KindStream {
		return unsupported(node, "UNIQUE is not supported in STREAM tables: their rows end by time, not by key")
	}
	given := name != ""
	if !given {
		name = e.freeIndexName(descriptor, indexName(descriptor, columns, true))
	}
	before := len(descriptor.Indexes)
	if err := addIndex(descriptor, node, name, columns, true); err != nil {
		return err
	}
	added := &descriptor.Indexes[before]
	if !given && kept(descriptor, added) {
		descriptor.Indexes = descriptor.Indexes[:before]
		return nil
	}
	if given && slices.ContainsFunc(descriptor.Indexes[:before], func(x schema.Index) bool { return x.Name == name }) {
		return invalid(node, "two constraints are named '%s'", name)
	}
	return nil
}

// kept reports whether the primary key or another index keeps the columns of an index unique already, in whatever order
// it names them.
func kept(descriptor *schema.Table, x *schema.Index) bool {
	if key := descriptor.PrimaryKey(); key >= 0 && len(x.Columns) == 1 && x.Columns[0] == descriptor.Columns[key].ID {
		return true
	}
	return twin(descriptor, x) != nil
}

// twin finds another index that keeps the columns of an index unique.
func twin(descriptor *schema.Table, x *schema.Index) *schema.Index {
	for i := range descriptor.Indexes {
		other := &descriptor.Indexes[i]
		if other.ID != x.ID && other.Unique && !other.Dropped() &&
			slices.Equal(slices.Sorted(slices.Values(other.Columns)), slices.Sorted(slices.Values(x.Columns))) {
			return other
		}
	}
	return nil
}

// underWay finds an index over some columns that is being built by another statement, and may fail.
func (a *alteration) underWay(columns []parse.Ident) *schema.Index {
	wanted := &schema.Index{}
	for _, named := range columns {
		if position, ok := a.old.Column(named.Name); ok {
			wanted.Columns = append(wanted.Columns, a.old.Columns[position].ID)
		}
	}
	if found := twin(a.old, wanted); found != nil && found.State == schema.IndexBuilding {
		return found
	}
	return nil
}

// freeIndexName appends the first number that makes a name free in the namespace of a table, as PostgreSQL does.
func (e *Environment) freeIndexName(descriptor *schema.Table, name string) string {
	taken := func(name string) bool {
		_, own := descriptor.Index(name)
		return own || e.indexTable(descriptor.Namespace, name) != nil
	}
	free := name
	for n := 1; taken(free); n++ {
		suffix := strconv.Itoa(n)
		free = name[:min(len(name), maxNameBytes-len(suffix))] + suffix
	}
	return free
}

// uniqueColumn gives a column that is being added the unique index that its UNIQUE asks for. Rows that are there read the
// same initial value, so it must be NULL, of which none equals another: then no row can forbid the index.
func (a *alteration) uniqueColumn(definition *parse.ColumnDef, column *schema.Column) error {
	if !column.Initial.IsNull() {
		return invalid(definition, "column '%s' is UNIQUE and its DEFAULT is one value for all rows that are there; "+
			"add it without the DEFAULT, then use ALTER COLUMN ... SET DEFAULT", column.Name)
	}
	columns := []parse.Ident{{Pos: definition.Pos, Name: definition.Name}}
	return a.env.uniqueConstraint(definition, definition.UniqueName, columns, a.next)
}

// addConstraint adds UNIQUE to a table that may have rows. They are gone through behind the fence, and the constraint is
// taken back when two of them have the same values.
func (a *alteration) addConstraint(constraint *parse.TableConstraint) error {
	switch constraint.Kind {
	case parse.PrimaryKeyConstraint:
		return invalid(constraint, "the primary key of a table cannot change")
	case parse.CheckConstraint, parse.ForeignKeyConstraint:
		return unsupported(constraint, "ALTER TABLE adds UNIQUE constraints only; CHECK and FOREIGN KEY are not kept")
	case parse.UniqueConstraint:
	}
	if constraint.Name != "" && a.env.indexTable(a.old.Namespace, constraint.Name) != nil {
		return at(constraint, fault.New(fault.AlreadyExists, "Index '%s.%s' already exists", a.old.Namespace, constraint.Name))
	}
	if err := a.env.uniqueConstraint(constraint, constraint.Name, constraint.Columns, a.next); err != nil {
		return err
	}
	if len(a.next.Indexes) == len(a.old.Indexes) {
		if x := a.underWay(constraint.Columns); x != nil {
			return at(constraint, fault.New(fault.Conflict,
				"constraint '%s' over the same columns is being built and may fail; try again when that is done", x.Name))
		}
		a.noop = "its columns are unique already"
		return nil
	}
	a.done = fmt.Sprintf("added constraint '%s'", a.next.Indexes[len(a.next.Indexes)-1].Name)
	return nil
}

// dropConstraint drops the unique index that is a constraint.
func (a *alteration) dropConstraint(node *parse.DropConstraint) error {
	position, ok := a.next.Index(node.Name.Name)
	switch {
	case ok && a.next.Indexes[position].Unique:
		a.next.Indexes[position].State = schema.IndexRetiring
		a.done = fmt.Sprintf("dropped constraint '%s'", node.Name.Name)
	case node.IfExists:
		a.noop = fmt.Sprintf("constraint '%s' does not exist", node.Name.Name)
	default:
		return at(node.Name, fault.New(fault.NotFound, "constraint '%s' not found in table '%s'", node.Name.Name, a.old.FullName()))
	}
	return nil
}
