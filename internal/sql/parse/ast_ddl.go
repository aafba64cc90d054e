package parse

import "github.com/kalamdb/kalamdb-go/internal/schema"

// CreateNamespace is CREATE NAMESPACE [IF NOT EXISTS] n.
type CreateNamespace struct {
	Pos
	IfNotExists bool
	Name        Ident
}

// DropNamespace is DROP NAMESPACE [IF EXISTS] n [CASCADE].
type DropNamespace struct {
	Pos
	IfExists bool
	Name     Ident
	Cascade  bool
}

// AlterNamespace is ALTER NAMESPACE n SET OPTIONS (..).
type AlterNamespace struct {
	Pos
	Name    Ident
	Options []Option
}

// UseNamespace is USE n, USE NAMESPACE n or SET NAMESPACE n.
type UseNamespace struct {
	Pos
	Name Ident
}

// Nullability is whether a column definition said NULL or NOT NULL.
type Nullability uint8

// The nullabilities.
const (
	NullabilityUnstated Nullability = iota
	Nullable
	NotNull
)

// ColumnDef is one column of CREATE TABLE or ADD COLUMN.
type ColumnDef struct {
	Pos
	Name        string
	Type        TypeName
	Nullability Nullability
	PrimaryKey  bool
	Unique      bool
	UniqueName  string // CONSTRAINT name before UNIQUE, empty when absent
	Identity    bool   // AUTO_INCREMENT or GENERATED .. AS IDENTITY; the SERIAL types are left to Type
	Default     Expr
	Checks      []Expr
	References  *Reference
}

// Reference is the target of a foreign key. What follows on actions and deferral is read and dropped.
type Reference struct {
	Pos
	Table   ObjectName
	Columns []Ident
}

// ConstraintKind is the kind of a table constraint.
type ConstraintKind uint8

// The kinds of table constraints.
const (
	PrimaryKeyConstraint ConstraintKind = iota
	UniqueConstraint
	CheckConstraint
	ForeignKeyConstraint
)

// TableConstraint is [CONSTRAINT name] PRIMARY KEY (..), UNIQUE (..), CHECK (..) or FOREIGN KEY (..).
type TableConstraint struct {
	Pos
	Name       string
	Kind       ConstraintKind
	Columns    []Ident
	Check      Expr
	References *Reference
}

// CreateTable is CREATE [USER|SHARED|STREAM] TABLE.
type CreateTable struct {
	Pos
	Kind        schema.TableKind // zero when not stated
	IfNotExists bool
	Name        ObjectName
	Columns     []ColumnDef
	Constraints []TableConstraint
	Using       string // USING x, empty when absent
	Options     []Option
	As          *Query // CREATE TABLE .. AS query, nil otherwise
}

// DropTable is DROP [USER|SHARED|STREAM] TABLE [IF EXISTS] t [CASCADE].
type DropTable struct {
	Pos
	Kind     schema.TableKind // zero when not stated
	IfExists bool
	Name     ObjectName
	Cascade  bool
}

// AlterTable is ALTER [USER|SHARED|STREAM] TABLE [IF EXISTS] t with one action.
type AlterTable struct {
	Pos
	Kind     schema.TableKind // zero when not stated
	IfExists bool
	Name     ObjectName
	Action   AlterAction
}

// AlterAction is what ALTER TABLE does: one of the pointer types below.
type AlterAction interface {
	Node
	alterAction()
}

// AddColumn is ADD [COLUMN] [IF NOT EXISTS] definition.
type AddColumn struct {
	Pos
	IfNotExists bool
	Column      ColumnDef
}

// DropColumn is DROP [COLUMN] [IF EXISTS] c.
type DropColumn struct {
	Pos
	IfExists bool
	Name     Ident
}

// AddConstraint is ADD constraint.
type AddConstraint struct {
	Pos
	Constraint TableConstraint
}

// DropConstraint is DROP CONSTRAINT [IF EXISTS] name.
type DropConstraint struct {
	Pos
	IfExists bool
	Name     Ident
}

// ModifyColumn is MODIFY [COLUMN] c type [NULL|NOT NULL], or ALTER [COLUMN] c [SET DATA] TYPE type.
type ModifyColumn struct {
	Pos
	Name        Ident
	Type        TypeName
	Nullability Nullability
}

// SetNotNull is ALTER [COLUMN] c SET NOT NULL, or DROP NOT NULL when Drop is set.
type SetNotNull struct {
	Pos
	Name Ident
	Drop bool
}

// SetDefault is ALTER [COLUMN] c SET DEFAULT value, or DROP DEFAULT when Value is nil.
type SetDefault struct {
	Pos
	Name  Ident
	Value Expr
}

// RenameColumn is RENAME [COLUMN] a TO b.
type RenameColumn struct {
	Pos
	From Ident
	To   Ident
}

// RenameTable is RENAME TO b.
type RenameTable struct {
	Pos
	To Ident
}

// SetAccessLevel is SET ACCESS LEVEL word. The word is in lower case and not checked.
type SetAccessLevel struct {
	Pos
	Level string
}

// SetTableOptions is SET [OPTIONS] (..).
type SetTableOptions struct {
	Pos
	Options []Option
}

// CreateVectorIndex is CREATE [VECTOR] INDEX c [USING metric] within ALTER TABLE.
type CreateVectorIndex struct {
	Pos
	Column Ident
	Metric string // lower case, empty when absent
}

// DropVectorIndex is DROP [VECTOR] INDEX c within ALTER TABLE.
type DropVectorIndex struct {
	Pos
	Column Ident
}

// CreateView is CREATE [OR REPLACE] VIEW [IF NOT EXISTS] v [(columns)] AS query.
type CreateView struct {
	Pos
	OrReplace   bool
	IfNotExists bool
	Name        ObjectName
	Columns     []Ident
	Query       *Query
}

// DropView is DROP VIEW [IF EXISTS] v [CASCADE].
type DropView struct {
	Pos
	IfExists bool
	Name     ObjectName
	Cascade  bool
}

// IndexColumn is one key of an index.
type IndexColumn struct {
	Pos
	Expr       Expr // a *ColumnRef for a plain column
	Descending bool
	Nulls      NullsOrder
}

// CreateIndex is CREATE [UNIQUE] INDEX [IF NOT EXISTS] [name] ON t [USING method] (keys) [WITH (..)] [WHERE ..].
type CreateIndex struct {
	Pos
	Unique      bool
	IfNotExists bool
	Name        ObjectName // Name.Name is empty when none was given
	Table       ObjectName
	Method      string // lower case, empty when absent
	Columns     []IndexColumn
	Options     []Option
	Where       Expr
}

// DropIndex is DROP INDEX [IF EXISTS] name.
type DropIndex struct {
	Pos
	IfExists bool
	Name     ObjectName
	Cascade  bool
}

func (*AddColumn) alterAction()         {}
func (*DropColumn) alterAction()        {}
func (*AddConstraint) alterAction()     {}
func (*DropConstraint) alterAction()    {}
func (*ModifyColumn) alterAction()      {}
func (*SetNotNull) alterAction()        {}
func (*SetDefault) alterAction()        {}
func (*RenameColumn) alterAction()      {}
func (*RenameTable) alterAction()       {}
func (*SetAccessLevel) alterAction()    {}
func (*SetTableOptions) alterAction()   {}
func (*CreateVectorIndex) alterAction() {}
func (*DropVectorIndex) alterAction()   {}

func (*CreateNamespace) statement() {}
func (*DropNamespace) statement()   {}
func (*AlterNamespace) statement()  {}
func (*UseNamespace) statement()    {}
func (*CreateTable) statement()     {}
func (*DropTable) statement()       {}
func (*AlterTable) statement()      {}
func (*CreateView) statement()      {}
func (*DropView) statement()        {}
func (*CreateIndex) statement()     {}
func (*DropIndex) statement()       {}
