package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// maxFormerTypes bounds how often the type of a column changes.
const maxFormerTypes = 16

// authorizeAlter checks that the caller may change a table that exists already; Build reports one that does not.
func (e *Environment) authorizeAlter(statement parse.Node, name parse.ObjectName) error {
	found, err := e.lookup(name)
	switch {
	case fault.KindOf(err) == fault.TableNotFound:
		return nil
	case err != nil:
		return err
	case found.Kind == schema.KindView:
		return invalid(name, "'%s' is a view; use CREATE OR REPLACE VIEW", found.FullName())
	case found.Kind == schema.KindSystem:
		return at(name, fault.New(fault.PermissionDenied, "access denied: system tables cannot be altered"))
	case !canAlter(e.Caller.Role, found):
		return at(statement, fault.New(fault.PermissionDenied,
			"access denied: role %s cannot alter this table", e.Caller.Role))
	}
	return nil
}

// alteration is one ALTER TABLE at work on a copy of the descriptor.
type alteration struct {
	env  *Environment
	old  *schema.Table
	next *schema.Table
	meta *Meta
	done string // what was done, for the message; empty when nothing is to be done
	noop string // why nothing is to be done
}

func (e *Environment) alterTable(node *parse.AlterTable) (Statement, error) {
	found, err := e.lookup(node.Name)
	if err != nil {
		if fault.KindOf(err) == fault.TableNotFound && node.IfExists {
			namespace, name := e.tableName(node.Name)
			return &Done{Message: fmt.Sprintf("Table '%s.%s' does not exist", namespace, name)}, nil
		}
		return nil, err
	}
	if err = e.authorizeAlter(node, node.Name); err != nil {
		return nil, err
	}
	a := &alteration{env: e, old: found, next: found.Clone(), meta: &Meta{}}
	if err = a.apply(node.Action); err != nil {
		return nil, err
	}
	if a.done == "" {
		return &Done{Message: fmt.Sprintf("Table '%s' is unchanged: %s", found.FullName(), a.noop)}, nil
	}
	a.next.Version++
	if err = e.checkReadersOf(node, a.next); err != nil {
		return nil, err
	}
	return a.statement(fmt.Sprintf("Table '%s' altered successfully: %s. Schema version: %d", found.FullName(), a.done, a.next.Version)), nil
}

// statement is the command that puts the changed descriptor in the place of the old one.
func (a *alteration) statement(message string) *Meta {
	a.meta.Command = &commandv1.Command{Body: &commandv1.Command_AlterTable{AlterTable: &commandv1.AlterTable{
		Table: catalog.TableToProto(a.next), ExpectRevision: a.old.Revision, Message: message + ".",
		KeepVersion: true,
	}}}
	if a.next.Unfinished() {
		a.meta.Finish = a.next.ID
	}
	return a.meta
}

func (a *alteration) apply(action parse.AlterAction) error {
	switch node := action.(type) {
	case *parse.AddColumn:
		return a.addColumn(node)
	case *parse.DropColumn:
		return a.dropColumn(node)
	case *parse.AddConstraint:
		return a.addConstraint(&node.Constraint)
	case *parse.DropConstraint:
		return a.dropConstraint(node)
	case *parse.ModifyColumn:
		return a.modifyColumn(node)
	case *parse.SetNotNull:
		return a.setNotNull(node)
	case *parse.SetDefault:
		return a.setDefault(node)
	case *parse.RenameColumn:
		return a.renameColumn(node)
	case *parse.SetAccessLevel:
		return a.setAccess(node)
	case *parse.RenameTable:
		return unsupported(action, "a table cannot be renamed; create a view or a new table")
	case *parse.SetTableOptions:
		return unsupported(action, "ALTER TABLE ... SET OPTIONS is not supported; options are given with CREATE TABLE")
	case *parse.CreateVectorIndex, *parse.DropVectorIndex:
		return unsupported(action, "vector indexes are not supported; CREATE INDEX makes one over ordinary columns")
	}
	return unsupported(action, "this form of ALTER TABLE is not supported")
}

// column finds a column that may be altered.
func (a *alteration) column(name parse.Ident) (*schema.Column, error) {
	if schema.IsReservedColumn(name.Name) {
		return nil, invalid(name, "system column '%s' cannot be altered", name.Name)
	}
	position, ok := a.next.Column(name.Name)
	if !ok {
		return nil, at(name, fault.New(fault.InvalidStatement, "column '%s' not found in table '%s'", name.Name, a.old.FullName()))
	}
	return &a.next.Columns[position], nil
}

func (a *alteration) addColumn(node *parse.AddColumn) error {
	definition := &node.Column
	if err := checkColumnName(definition); err != nil {
		return err
	}
	if err := a.nameIsFree(definition, definition.Name); err != nil {
		if _, same := a.next.Column(definition.Name); same && node.IfNotExists {
			a.noop = fmt.Sprintf("column '%s' already exists", definition.Name)
			return nil
		}
		return err
	}
	switch {
	case len(a.next.Columns) >= maxColumns:
		return invalid(node, "a table has at most %d columns", maxColumns)
	case definition.PrimaryKey:
		return invalid(definition, "the primary key of a table cannot change")
	}
	column, err := tableColumn(definition)
	if err != nil {
		return err
	}
	column.ID, column.AddedIn = a.next.NextColumnID, a.next.Version+1
	a.next.NextColumnID++
	if column.Initial, err = a.initial(&column); err != nil {
		return err
	}
	if !column.Nullable && column.Initial.IsNull() {
		// Rows that are there have no value to read. There must be none, and none may come without one.
		column.Nullable, column.Proof = true, schema.ProofOfAdded
		a.meta.MustBeEmpty = a.old
		a.meta.Refusal = at(definition, fault.New(fault.NotNull,
			"column '%s' is NOT NULL and the table has rows: give it a DEFAULT that is the same for all of them", column.Name))
	}
	a.next.Columns = append(a.next.Columns, column)
	if definition.Unique {
		if err = a.uniqueColumn(definition, &column); err != nil {
			return err
		}
	}
	a.done = fmt.Sprintf("added column '%s'", column.Name)
	return nil
}

// initial is what rows that are there read as: the default, when it is one value for all of them.
func (a *alteration) initial(column *schema.Column) (datum.Datum, error) {
	switch column.Default.Kind {
	case schema.DefaultLiteral:
		return column.Default.Literal, nil
	case schema.DefaultNow:
		return datum.Cast(datum.NewInt(datum.DateTime, a.env.NowMicros), column.Type)
	case schema.DefaultCurrentUser:
		return datum.Cast(datum.NewText(string(a.env.Caller.User())), column.Type)
	case schema.DefaultNone, schema.DefaultSnowflake, schema.DefaultUUIDv7, schema.DefaultULID:
	}
	return datum.Datum{}, nil
}

// nameIsFree refuses a name that another column has in any letter case.
func (a *alteration) nameIsFree(node parse.Node, name string) error {
	if slices.ContainsFunc(a.next.Columns, func(c schema.Column) bool { return lower(c.Name) == lower(name) }) {
		return at(node, fault.New(fault.AlreadyExists, "column '%s' already exists in table '%s'", name, a.old.FullName()))
	}
	return nil
}

func (a *alteration) dropColumn(node *parse.DropColumn) error {
	if _, known := a.next.Column(node.Name.Name); !known && node.IfExists && !schema.IsReservedColumn(node.Name.Name) {
		a.noop = fmt.Sprintf("column '%s' does not exist", node.Name.Name)
		return nil
	}
	column, err := a.column(node.Name)
	if err != nil {
		return err
	}
	if column.PrimaryKey {
		return invalid(node.Name, "primary key column '%s' cannot be dropped", column.Name)
	}
	id, name := column.ID, column.Name
	if len(a.next.IndexedBy(id)) > 0 { // an index is nothing without its column, and leaves before it
		first := a.old.Clone()
		for _, x := range first.IndexedBy(id) {
			x.State = schema.IndexRetiring
		}
		a.meta.First = &commandv1.AlterTable{
			Table: catalog.TableToProto(first), ExpectRevision: a.old.Revision, KeepVersion: true,
		}
	}
	for _, x := range a.next.IndexedBy(id) {
		x.State = schema.IndexDropping
	}
	a.next.Columns = slices.DeleteFunc(a.next.Columns, func(c schema.Column) bool { return c.ID == id })
	a.done = fmt.Sprintf("dropped column '%s'", name)
	return nil
}

func (a *alteration) modifyColumn(node *parse.ModifyColumn) error {
	column, err := a.column(node.Name)
	if err != nil {
		return err
	}
	wanted, err := columnType(&node.Type)
	if err != nil {
		return err
	}
	var parts []string
	if wanted != column.Type {
		if err = a.retype(node, column, wanted); err != nil {
			return err
		}
		parts = append(parts, fmt.Sprintf("changed column '%s' to %s", column.Name, wanted))
	}
	if node.Nullability != parse.NullabilityUnstated {
		part, err := a.nullability(node.Name, column, node.Nullability == parse.NotNull)
		if err != nil {
			return err
		}
		if part != "" {
			parts = append(parts, part)
		}
	}
	a.done = strings.Join(parts, ", ")
	a.noop = fmt.Sprintf("column '%s' is like that already", column.Name)
	return nil
}

// retype changes the type of a column. Stored values stay; they are converted when they are read.
func (a *alteration) retype(node *parse.ModifyColumn, column *schema.Column, wanted datum.Type) error {
	switch {
	case column.PrimaryKey:
		return invalid(node.Name, "the type of primary key column '%s' cannot change", column.Name)
	case !widens(column.Type, wanted):
		return invalid(node, "column '%s' of type %s cannot become %s: values that are stored might not fit; "+
			"add a column and copy them with UPDATE", column.Name, column.Type, wanted)
	case len(a.next.IndexedBy(column.ID)) > 0:
		return invalid(node, "column '%s' is in index '%s'; drop the index first", column.Name, a.next.IndexedBy(column.ID)[0].Name)
	case len(column.Formerly) >= maxFormerTypes:
		return invalid(node, "the type of column '%s' has changed %d times and stays", column.Name, maxFormerTypes)
	}
	column.Formerly = append(slices.Clone(column.Formerly), column.Type)
	column.Type = wanted
	for _, value := range []*datum.Datum{&column.Initial, &column.Default.Literal} {
		converted, err := datum.Cast(*value, wanted)
		if err != nil {
			return at(node, fault.New(fault.InvalidStatement, "the DEFAULT of column '%s' is no %s: %w", column.Name, wanted, err))
		}
		*value = converted
	}
	if column.Default.Kind > schema.DefaultLiteral && !defaultFits(column.Default.Kind, wanted) {
		return invalid(node, "the DEFAULT of column '%s' does not fit type %s; drop it first", column.Name, wanted)
	}
	return nil
}

// widens reports whether every value of a type is one of another.
func widens(from, to datum.Type) bool {
	digits := map[datum.Kind]uint8{datum.SmallInt: 5, datum.Int: 10, datum.BigInt: 19}
	switch to.Kind { //nolint:exhaustive // nothing becomes one of the others
	case datum.Int:
		return from.Kind == datum.SmallInt
	case datum.BigInt:
		return from.Kind == datum.SmallInt || from.Kind == datum.Int
	case datum.Double:
		return from.Kind == datum.SmallInt || from.Kind == datum.Int || from.Kind == datum.Float
	case datum.Float:
		return from.Kind == datum.SmallInt
	case datum.Decimal:
		if from.Kind == datum.Decimal {
			return to.Scale >= from.Scale && to.Precision-to.Scale >= from.Precision-from.Scale
		}
		return digits[from.Kind] > 0 && to.Precision-to.Scale >= digits[from.Kind]
	case datum.Text:
		switch from.Kind { //nolint:exhaustive // the others have no text that reads back
		case datum.SmallInt, datum.Int, datum.BigInt, datum.Decimal, datum.Boolean, datum.UUID, datum.Date, datum.JSON:
			return true
		}
	}
	return false
}
