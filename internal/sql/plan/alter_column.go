package plan

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

func (a *alteration) setNotNull(node *parse.SetNotNull) error {
	column, err := a.column(node.Name)
	if err != nil {
		return err
	}
	a.noop = fmt.Sprintf("column '%s' is like that already", column.Name)
	a.done, err = a.nullability(node.Name, column, !node.Drop)
	return err
}

// nullability makes a column NOT NULL or not; it returns what was done, or nothing.
func (a *alteration) nullability(node parse.Node, column *schema.Column, notNull bool) (string, error) {
	switch {
	case notNull == column.Required():
		return "", nil
	case notNull:
		column.Proof = schema.ProofPending
		return fmt.Sprintf("column '%s' is NOT NULL", column.Name), nil
	case column.PrimaryKey:
		return "", invalid(node, "primary key column '%s' cannot be NULL", column.Name)
	}
	column.Nullable, column.Proof = true, schema.ProofDone
	return fmt.Sprintf("column '%s' may be NULL", column.Name), nil
}

func (a *alteration) setDefault(node *parse.SetDefault) error {
	column, err := a.column(node.Name)
	if err != nil {
		return err
	}
	a.noop = fmt.Sprintf("column '%s' is like that already", column.Name)
	wanted := schema.Default{}
	if node.Value != nil {
		definition := &parse.ColumnDef{Pos: node.Pos, Name: column.Name, Default: node.Value}
		if wanted, err = columnDefault(definition, column.Type); err != nil {
			return err
		}
	}
	same := wanted.Kind == column.Default.Kind && wanted.Literal.IsNull() == column.Default.Literal.IsNull()
	if same && (wanted.Literal.IsNull() || datum.Equal(wanted.Literal, column.Default.Literal)) {
		return nil
	}
	column.Default = wanted
	a.done = fmt.Sprintf("dropped the default of column '%s'", column.Name)
	if wanted.Kind != schema.DefaultNone {
		a.done = fmt.Sprintf("set the default of column '%s'", column.Name)
	}
	return nil
}

func (a *alteration) renameColumn(node *parse.RenameColumn) error {
	column, err := a.column(node.From)
	if err != nil {
		return err
	}
	if node.To.Name == column.Name {
		a.noop = fmt.Sprintf("column '%s' has that name already", column.Name)
		return nil
	}
	definition := &parse.ColumnDef{Pos: node.To.Pos, Name: node.To.Name}
	if err = checkColumnName(definition); err != nil {
		return err
	}
	if lower(node.To.Name) != lower(column.Name) {
		if err = a.nameIsFree(node.To, node.To.Name); err != nil {
			return err
		}
	}
	a.done = fmt.Sprintf("renamed column '%s' to '%s'", column.Name, node.To.Name)
	column.Name = node.To.Name
	return nil
}

func (a *alteration) setAccess(node *parse.SetAccessLevel) error {
	level, ok := accessOfWord(node.Level)
	switch {
	case !ok:
		return invalid(node, "access level '%s' must be public, private, restricted or dba", node.Level)
	case a.old.Kind != schema.KindShared:
		return invalid(node, "ACCESS LEVEL is for SHARED tables")
	case level == schema.AccessDBA && !a.env.Caller.Role.IsAdmin():
		return at(node, fault.New(fault.PermissionDenied, "access denied: access level dba needs role dba or system"))
	case level == a.old.Access:
		a.noop = fmt.Sprintf("its access level is %s already", level)
		return nil
	}
	a.next.Access = level
	a.done = fmt.Sprintf("access level is %s", level)
	return nil
}
