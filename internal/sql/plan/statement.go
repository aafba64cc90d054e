package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Statement is a bound statement: *Query, *Insert, *Update, *Delete, *Meta, *Done, *SetNamespace, *Describe, *Analyze, *Cluster,
// *Transact, *Kill or *Impersonate.
type Statement interface {
	statement()
}

// Meta is a change of the catalog: one command for the meta group.
type Meta struct {
	Command *commandv1.Command
	// Password is what CREATE USER or ALTER USER was given. The executor checks it, hashes it and puts
	// the hash into the command. Nil when there is none.
	Password *string
	// Storage is what a storage would be like; it is tried from this node before the command is sent. Nil for
	// other commands.
	Storage *catalog.Storage
	// MustBeEmpty is a table whose rows, if it has any, refuse the change with Refusal.
	MustBeEmpty *schema.Table
	Refusal     *fault.Error
	// First is a change of the table that must be carried out, and finished, before the statement is planned anew. Nil when
	// there is none.
	First *commandv1.AlterTable
	// Finish names a table that the command leaves unfinished; zero for none.
	Finish ident.TableID
}

// Done is a statement that has nothing to do, and says so.
type Done struct {
	Message string
}

// SetNamespace changes the default namespace for the rest of the request.
type SetNamespace struct {
	Namespace string
}

// Impersonate runs a statement as another user, with a role of its own.
type Impersonate struct {
	Target    ident.UserID
	Role      session.Role
	Statement Statement
	Source    parse.Statement // what the caller wrote, for the audit log
}

// Transact is a statement about the transaction: *parse.Begin, *parse.Commit, *parse.Rollback,
// *parse.Savepoint, *parse.RollbackTo, *parse.ReleaseSavepoint or *parse.SetTransaction.
type Transact struct {
	Node parse.Statement
}

// Kill ends a request or a transaction.
type Kill struct {
	Node *parse.Kill
}

func (*Meta) statement()         {}
func (*Kill) statement()         {}
func (*Transact) statement()     {}
func (*Done) statement()         {}
func (*SetNamespace) statement() {}
func (*Impersonate) statement()  {}
