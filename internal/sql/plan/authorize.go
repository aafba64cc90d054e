package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

// CanSee reports whether a role may read a table, and so may know that it exists. Private rows are seen
// by their owner alone, but the table itself is everybody's.
func CanSee(role session.Role, table *schema.Table) bool {
	switch table.Kind {
	case schema.KindUser, schema.KindStream:
		return role >= session.RoleUser
	case schema.KindShared:
		return canReadShared(role, table.Access)
	case schema.KindSystem:
		return role.IsAdmin() || isOpenView(table)
	case schema.KindView:
		return false // it depends on what the view reads: see canSeeView
	}
	return false
}

func canReadShared(role session.Role, access schema.AccessLevel) bool {
	switch access {
	case schema.AccessPublic:
		return role >= session.RoleUser
	case schema.AccessPrivate, schema.AccessRestricted:
		return role >= session.RoleService
	case schema.AccessDBA:
		return role.IsAdmin()
	}
	return false
}

// canWrite reports whether a role may change rows of a table that it can see.
func canWrite(role session.Role, table *schema.Table) bool {
	switch table.Kind {
	case schema.KindUser, schema.KindStream:
		return role >= session.RoleUser
	case schema.KindShared:
		if table.Access == schema.AccessDBA {
			return role.IsAdmin()
		}
		return role >= session.RoleService
	case schema.KindSystem, schema.KindView:
		return false
	}
	return false
}

// canCreate reports whether a role may create tables of a kind.
func canCreate(role session.Role, kind schema.TableKind) bool {
	switch kind {
	case schema.KindUser, schema.KindStream:
		return role >= session.RoleUser
	case schema.KindShared:
		return role >= session.RoleService
	case schema.KindSystem, schema.KindView:
		return false
	}
	return false
}

// canAlter reports whether a role may change the columns and indexes of a table that it can see.
func canAlter(role session.Role, table *schema.Table) bool {
	if table.Kind == schema.KindShared && table.Access == schema.AccessDBA {
		return role.IsAdmin()
	}
	return canCreate(role, table.Kind)
}

// canImpersonate reports whether a role may run a statement as a user of another role.
func canImpersonate(role, target session.Role) bool {
	switch role {
	case session.RoleSystem:
		return true
	case session.RoleDBA:
		return target <= session.RoleDBA
	case session.RoleService:
		return target <= session.RoleService
	case session.RoleUser, session.RoleAnonymous:
		return false
	}
	return false
}

func requireService(role session.Role, what string) error {
	if role >= session.RoleService {
		return nil
	}
	return fault.New(fault.PermissionDenied, "access denied: %s needs role service, dba or system", what)
}

func requireAdmin(role session.Role, what string) error {
	if role.IsAdmin() {
		return nil
	}
	return fault.New(fault.PermissionDenied, "access denied: %s needs role dba or system", what)
}
