package parse

// Explain is EXPLAIN [ANALYZE] [VERBOSE] statement, or EXPLAIN (options) statement.
type Explain struct {
	Pos
	Analyze   bool
	Verbose   bool
	Format    string // lower case, empty when absent
	Statement Statement
}

// TransactionModes is what may follow BEGIN and SET TRANSACTION.
type TransactionModes struct {
	Isolation string // "", "serializable", "repeatable read", "read committed", "read uncommitted"
	Access    AccessMode
}

// AccessMode is READ ONLY or READ WRITE.
type AccessMode uint8

// The access modes.
const (
	AccessUnstated AccessMode = iota
	ReadOnly
	ReadWrite
)

// Begin is BEGIN or START TRANSACTION.
type Begin struct {
	Pos
	Modes TransactionModes
}

// Commit is COMMIT or END.
type Commit struct{ Pos }

// Rollback is ROLLBACK or ABORT.
type Rollback struct{ Pos }

// Savepoint is SAVEPOINT name.
type Savepoint struct {
	Pos
	Name Ident
}

// ReleaseSavepoint is RELEASE [SAVEPOINT] name.
type ReleaseSavepoint struct {
	Pos
	Name Ident
}

// RollbackTo is ROLLBACK TO [SAVEPOINT] name.
type RollbackTo struct {
	Pos
	Name Ident
}

// SetTransaction is SET TRANSACTION modes.
type SetTransaction struct {
	Pos
	Modes TransactionModes
}

// SetVariable is SET [SESSION|LOCAL] name = value, .. . Name is in lower case, parts joined by a point;
// SET TIME ZONE is the variable timezone. Values is empty for DEFAULT; a bare word is a *StringLiteral.
type SetVariable struct {
	Pos
	Local  bool
	Name   string
	Values []Expr
}

// ResetVariable is RESET name, or RESET ALL when Name is empty.
type ResetVariable struct {
	Pos
	Name string
}

// ShowVariable is SHOW name for a name that is no object list, or SHOW ALL when Name is empty.
type ShowVariable struct {
	Pos
	Name string
}

// ShowKind is what SHOW lists.
type ShowKind uint8

// The lists of SHOW.
const (
	ShowNamespaces ShowKind = iota
	ShowTables              // Namespace may be set
	ShowStorages
	ShowStats    // SHOW STATS FOR TABLE t: Table is set
	ShowManifest // Table may be set
	ShowColumns  // SHOW COLUMNS FROM t: Table is set
	ShowExport
	ShowUsers
	ShowJobs
	ShowTopics
	ShowViews   // Namespace may be set
	ShowIndexes // Table may be set
	ShowCluster
	ShowLiveQueries
	ShowSchedules
)

// Show is SHOW of a list of objects.
type Show struct {
	Pos
	Kind      ShowKind
	Namespace Ident      // Name is empty when absent
	Table     ObjectName // Name is empty when absent
}

// Describe is DESC[RIBE] [TABLE] t [HISTORY].
type Describe struct {
	Pos
	Table   ObjectName
	Keyword bool // the word TABLE was written
	History bool
}

// ExecuteAsUser is EXECUTE AS USER 'name' (statement).
type ExecuteAsUser struct {
	Pos
	User      Ident
	Statement Statement
}

// Subscribe is SUBSCRIBE TO query [OPTIONS (..)]; SUBSCRIBE TO t [WHERE ..] is a query that selects *.
type Subscribe struct {
	Pos
	Query   *Query
	Options []Option
}

func (*Explain) statement()          {}
func (*Begin) statement()            {}
func (*Commit) statement()           {}
func (*Rollback) statement()         {}
func (*Savepoint) statement()        {}
func (*ReleaseSavepoint) statement() {}
func (*RollbackTo) statement()       {}
func (*SetTransaction) statement()   {}
func (*SetVariable) statement()      {}
func (*ResetVariable) statement()    {}
func (*ShowVariable) statement()     {}
func (*Show) statement()             {}
func (*Describe) statement()         {}
func (*ExecuteAsUser) statement()    {}
func (*Subscribe) statement()        {}
