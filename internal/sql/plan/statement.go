package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Statement is a bound statement: *Query, *Insert, *Update, *Delete, *Meta, *SetNamespace, *Describe, *Cluster
// or *Impersonate.
type Statement interface {
	statement()
}

// Meta is a change of the catalog: one command for the meta group.
type Meta struct {
	Command *commandv1.Command
	// Password is what CREATE USER or ALTER USER was given. The executor checks it, hashes it and puts
	// the hash into the command. Nil when there is none.
	Password *string
}

// SetNamespace changes the default namespace for the rest of the request.
type SetNamespace struct {
	Namespace string
}

// Impersonate runs a statement as another user, with that session.
type Impersonate struct {
	Target    ident.UserID
	Session   session.Session
	Statement Statement
}

func (*Meta) statement()         {}
func (*SetNamespace) statement() {}
func (*Impersonate) statement()  {}
