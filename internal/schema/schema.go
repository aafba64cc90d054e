// Package schema describes tables: their columns, keys, defaults and options.
//
// Descriptors are values of the catalog. Once published they are never changed; ALTER makes a new one
// with a higher version. The package also holds the row codec, because a row's bytes are defined by its
// columns. It knows nothing of where tables are stored or who may read them.
package schema

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// TableKind is the kind of a table. The numbers are part of the catalog format.
type TableKind uint8

// The kinds of tables.
const (
	KindUser   TableKind = 1 // a private row space for every user
	KindShared TableKind = 2 // one row space, guarded by an access level
	KindStream TableKind = 3 // private rows with a time to live
	KindSystem TableKind = 4 // computed or catalog rows, read only
	KindView   TableKind = 5 // a named query; no stored descriptor of a table has it
)

// String prints the kind as SQL and the views spell it: user, shared, stream, system, view.
func (k TableKind) String() string {
	switch k {
	case KindUser:
		return "user"
	case KindShared:
		return "shared"
	case KindStream:
		return "stream"
	case KindSystem:
		return "system"
	case KindView:
		return "view"
	}
	return "unknown"
}

// AccessLevel says which roles read a shared table. The numbers are part of the catalog format.
type AccessLevel uint8

// The access levels of shared tables.
const (
	AccessPrivate    AccessLevel = 0 // service and above; the default
	AccessPublic     AccessLevel = 1 // every authenticated user reads
	AccessRestricted AccessLevel = 2 // service and above
	AccessDBA        AccessLevel = 3 // dba and system only
)

// String prints the level as SQL spells it.
func (a AccessLevel) String() string {
	switch a {
	case AccessPublic:
		return "public"
	case AccessRestricted:
		return "restricted"
	case AccessDBA:
		return "dba"
	case AccessPrivate:
		return "private"
	}
	return "unknown"
}

// DefaultKind says how the value of an omitted column is made. The numbers are part of the catalog format.
type DefaultKind uint8

// The kinds of defaults. Functions are evaluated by the node that executes the INSERT, never during apply.
const (
	DefaultNone        DefaultKind = 0
	DefaultLiteral     DefaultKind = 1
	DefaultNow         DefaultKind = 2
	DefaultSnowflake   DefaultKind = 3
	DefaultUUIDv7      DefaultKind = 4
	DefaultULID        DefaultKind = 5
	DefaultCurrentUser DefaultKind = 6
)

// Default is a column's default.
type Default struct {
	Kind    DefaultKind
	Literal datum.Datum // for DefaultLiteral, already of the column's type
}

// Column is one column of a table.
type Column struct {
	ID         uint32 // stable for the column's life; renaming keeps it, ids are never reused in a table
	Name       string
	Type       datum.Type
	Nullable   bool
	PrimaryKey bool
	Unique     bool // what clients are told; WithSystemColumns sets it, and what is stored says nothing
	Default    Default
	AddedIn    uint32      // schema version whose ALTER added the column; zero when there from the start
	Initial    datum.Datum // what rows written before AddedIn read as: the default of that time, or NULL
	// Formerly are the types that the column had before, oldest first. Values are stored in the type of their
	// time and converted step by step when they are read.
	Formerly []datum.Type
	Proof    Proof
}

// Proof says whether a NOT NULL that came after the first row is known to hold. The numbers are part of the catalog
// format.
type Proof uint8

// The states of a NOT NULL.
const (
	// ProofDone is the state of columns whose Nullable says all there is to say.
	ProofDone Proof = 0
	// ProofPending says that new rows must have a value, while older rows are still looked through for NULL. The
	// column stays nullable when one is found.
	ProofPending Proof = 1
	// ProofOfAdded is ProofPending for a column that is dropped again when a NULL is found.
	ProofOfAdded Proof = 2
)

// Required reports whether a row that is written now must have a value in the column.
func (c *Column) Required() bool { return !c.Nullable || c.Proof != ProofDone }

// System columns, present in every user, shared and stream table after the declared ones.
const (
	SeqColumn     = "_seq"     // BigInt: the log position of the row's newest version
	DeletedColumn = "_deleted" // Boolean: whether that version is a deletion
)

// Table is the descriptor of one table. Columns holds the declared columns only; SeqColumn and
// DeletedColumn follow them implicitly.
type Table struct {
	ID            ident.TableID
	Namespace     string
	Name          string
	Kind          TableKind
	Access        AccessLevel // shared tables
	Columns       []Column
	Version       uint32        // 1 at creation; counts the changes of the columns
	Revision      uint32        // counts every change of the descriptor; zero in the first ones that were stored
	Group         shard.GroupID // shared tables: where the rows are; zero for the others
	NextColumnID  uint32
	Options       map[string]string // remaining WITH options by upper-case name
	CreatedMicros int64
	UpdatedMicros int64
	Indexes       []Index
	NextIndexID   uint32
}

// Column returns the position of the named column in Columns; ok is false when there is none.
func (t *Table) Column(name string) (position int, ok bool) {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return i, true
		}
	}
	return 0, false
}

// PrimaryKey returns the position of the primary key column, or -1.
func (t *Table) PrimaryKey() int {
	for i := range t.Columns {
		if t.Columns[i].PrimaryKey {
			return i
		}
	}
	return -1
}

// FullName returns namespace.name.
func (t *Table) FullName() string { return t.Namespace + "." + t.Name }
