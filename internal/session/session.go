// Package session describes who is asking: the caller's identity, role and default namespace.
//
// A session is made by the API layer after authentication and passed down by value; nothing below
// changes it. The role comes from the stored user, never from a token.
//
// The package decides nothing: who may do what is the planner's judgement.
package session

import "github.com/kalamdb/kalamdb-go/internal/ident"

// Role is a caller's level of privilege.
type Role uint8

// The roles, least privileged first.
const (
	RoleAnonymous Role = iota
	RoleUser
	RoleService
	RoleDBA
	RoleSystem
)

// String prints the role as tokens, views and SQL spell it.
func (r Role) String() string {
	switch r {
	case RoleUser:
		return "user"
	case RoleService:
		return "service"
	case RoleDBA:
		return "dba"
	case RoleSystem:
		return "system"
	case RoleAnonymous:
		return "anonymous"
	}
	return "unknown"
}

// ParseRole reads a role word of SQL, aliases included; ok is false for any other word. The word must be
// lower case.
func ParseRole(word string) (role Role, ok bool) {
	switch word {
	case "user", "viewer", "readonly":
		return RoleUser, true
	case "service", "developer", "analyst":
		return RoleService, true
	case "dba", "admin":
		return RoleDBA, true
	case "system":
		return RoleSystem, true
	}
	return RoleAnonymous, false
}

// IsAdmin reports whether the role may see system objects and administer the server.
func (r Role) IsAdmin() bool { return r >= RoleDBA }

// Session is one caller in one request.
type Session struct {
	User      ident.UserID
	Role      Role
	Namespace string // default namespace of unqualified names; never empty ("default")
	ClientIP  string // peer address without port, for the audit log; may be empty
	// Account says that User is a stored account and Role was its role here a moment ago. Statements hold it against the
	// current catalog once more: this node may not have heard of a change when the caller was let in.
	Account bool
	// Password is the hash of the account's password when the caller was let in by a token of it, which is held against the catalog
	// likewise. Empty when no password was asked for.
	Password Hash
}

// Hash is the stored hash of a password. It prints as nothing, so that no log of a session tells it.
type Hash string

// String implements fmt.Stringer.
func (Hash) String() string { return "***" }

// GoString implements fmt.GoStringer.
func (Hash) GoString() string { return "***" }
