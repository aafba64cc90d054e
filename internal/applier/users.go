package applier

import (
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// createUser makes an account. The id of a dropped account is free again; its private rows go with the id.
func (c *metaCall) createUser(body *commandv1.CreateUser) (*commandv1.Response, error) {
	user, err := catalog.UserFromProto(body.GetUser())
	if err != nil {
		return command.Refuse(fault.InvalidStatement, "the user cannot be created: %v", err), nil
	}
	removing, err := c.isRemoving(user.ID)
	if err != nil {
		return nil, err
	}
	if removing {
		return command.Refuse(fault.Unavailable, "the rows of the dropped user '%s' are being removed; create the user again in a moment", user.ID), nil
	}
	if user.Role == session.RoleAnonymous {
		return command.Refuse(fault.InvalidStatement, "the user cannot be created: it has no role"), nil
	}
	if _, exists := c.User(user.ID); exists {
		if body.GetIfNotExists() {
			return done("User '%s' already exists", user.ID), nil
		}
		return command.Refuse(fault.AlreadyExists, "User '%s' already exists", user.ID), nil
	}
	user.FailedLogins, user.LockedUntilMicros, user.LastLoginMicros, user.DeletedMicros = 0, 0, 0, 0
	user.Families = nil
	user.CreatedMicros, user.UpdatedMicros = c.now, c.now
	return done("User '%s' created successfully", user.ID), c.putUser(user)
}

// alterUser changes what is set in the command. A new password lifts a lock.
func (c *metaCall) alterUser(body *commandv1.AlterUser) (*commandv1.Response, error) {
	user, exists := c.User(ident.UserID(body.GetId()))
	if !exists {
		return userNotFound(body.GetId()), nil
	}
	changed := *user
	if body.PasswordHash != nil {
		changed.PasswordHash = body.GetPasswordHash()
		changed.FailedLogins, changed.LockedUntilMicros = 0, 0
	}
	if body.Role != nil {
		if body.GetRole() == uint32(session.RoleAnonymous) || body.GetRole() > uint32(session.RoleSystem) {
			return command.Refuse(fault.InvalidStatement, "no user can have role %d", body.GetRole()), nil
		}
		changed.Role = session.Role(body.GetRole()) //nolint:gosec // checked above
	}
	if body.Email != nil {
		changed.Email = body.GetEmail()
	}
	changed.UpdatedMicros = c.now
	return done("User '%s' altered successfully", user.ID), c.putUser(&changed)
}

// dropUser marks the account as deleted and forgets its password.
func (c *metaCall) dropUser(body *commandv1.DropUser) (*commandv1.Response, error) {
	user, exists := c.User(ident.UserID(body.GetId()))
	if !exists {
		if body.GetIfExists() {
			return done("User '%s' does not exist", body.GetId()), nil
		}
		return userNotFound(body.GetId()), nil
	}
	dropped := *user
	dropped.PasswordHash = ""
	dropped.UpdatedMicros = c.now
	dropped.DeletedMicros = max(c.now, 1) // zero means not deleted
	if err := c.putUser(&dropped); err != nil {
		return nil, err
	}
	response := done("User '%s' dropped successfully", user.ID)
	if !body.GetCleanup() {
		return response, nil
	}
	wanted := NewUserCleanupJob(string(user.ID), dropped.DeletedMicros)
	wanted.NotBeforeMicros = c.now + max(body.GetCleanupDelayMicros(), 0)
	_, err := c.ownJob(wanted)
	return response, err
}

// isRemoving reports whether a job is removing the rows of a dropped account right now.
func (c *metaCall) isRemoving(id ident.UserID) (bool, error) {
	number, err := c.liveJobOf(userCleanupKey(string(id)))
	if err != nil || number == 0 {
		return false, err
	}
	job, _, err := catalog.LoadJob(c.batch, number)
	return job != nil && catalog.JobState(job.GetState()) == catalog.JobRunning, err
}

// forgetUser removes the account of a dropped user. An account that was made since is another one.
func (c *metaCall) forgetUser(body *commandv1.ForgetUser) (*commandv1.Response, error) {
	id := ident.UserID(body.GetId())
	account, exists := c.UserOrDeleted(id)
	if !exists || account.DeletedMicros != body.GetDeletedMicros() || !account.Deleted() {
		return done("User '%s' is not that account", id), nil
	}
	c.DeleteUser(id)
	return done("User '%s' is forgotten", id), c.batch.Delete(keys.User(id))
}

// AccountLocked is the audit log's word for the failed login that locked an account.
const AccountLocked = "ACCOUNT_LOCKED"

// recordLogin counts consecutive failures. While an account is locked nothing is counted and nobody
// logs in: a success that was checked on another node before the lock is refused. The audit log has the failures
// that are counted, which an account's lock bounds.
func (c *metaCall) recordLogin(body *commandv1.RecordLogin) (*commandv1.Response, error) {
	user, exists := c.User(ident.UserID(body.GetId()))
	if !exists {
		return userNotFound(body.GetId()), nil
	}
	note := c.note
	c.note = nil
	if c.now < user.LockedUntilMicros {
		if body.GetSuccess() {
			return command.Refuse(fault.PermissionDenied, "the account is locked"), nil
		}
		return done("User '%s' is locked", user.ID), nil
	}
	changed := *user
	if user.LockedUntilMicros != 0 { // the lock has run out
		changed.FailedLogins, changed.LockedUntilMicros = 0, 0
	}
	if body.GetSuccess() {
		changed.FailedLogins, changed.LastLoginMicros = 0, c.now
		return done("User '%s' logged in", user.ID), c.putUser(&changed)
	}
	changed.FailedLogins++
	c.note = note
	if body.GetLockAfter() == 0 || changed.FailedLogins < body.GetLockAfter() {
		return done("User '%s' failed to log in", user.ID), c.putUser(&changed)
	}
	changed.LockedUntilMicros = c.now + body.GetLockForMicros()
	if note != nil {
		locked := proto.CloneOf(note)
		locked.Action = AccountLocked
		c.note = locked
	}
	return done("User '%s' is locked", user.ID), c.putUser(&changed)
}

func userNotFound(id string) *commandv1.Response {
	return command.Refuse(fault.NotFound, "User '%s' not found", id)
}
