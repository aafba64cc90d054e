package auth

import (
	"context"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// SetupRequest is the first setup of a server: root's password and a first administrator.
type SetupRequest struct {
	User         ident.UserID
	Password     string
	RootPassword string
	Email        string // may be empty
}

// NeedsSetup reports whether root has no password yet, after reading what the cluster knows.
func (s *Service) NeedsSetup(ctx context.Context) (bool, error) {
	if _, err := s.config.Executor.Barrier(ctx, metaGroup); err != nil {
		return false, fmt.Errorf("read root account: %w", err)
	}
	root, _ := s.account(RootUser)
	return root.PasswordHash == "", nil
}

// EnsureRoot makes the root account at the first start, with the password given or, when that is empty,
// without one. A root without a password gets the password given; one that has a password is left alone.
// It may run on all nodes at once and be repeated.
func (s *Service) EnsureRoot(ctx context.Context, password string) error {
	if _, err := s.config.Executor.Barrier(ctx, metaGroup); err != nil {
		return fmt.Errorf("read root account: %w", err)
	}
	root, exists := s.account(RootUser)
	if exists && (root.PasswordHash != "" || password == "") {
		return nil
	}
	hash := ""
	if password != "" {
		var err error
		if hash, err = s.Hash(ctx, password); err != nil {
			return fmt.Errorf("root password: %w", err)
		}
	}
	if exists {
		return s.setRootPassword(ctx, "", hash)
	}
	err := s.execute(ctx, "", &commandv1.Command{Body: &commandv1.Command_CreateUser{CreateUser: &commandv1.CreateUser{
		User: &commandv1.User{
			Id: string(RootUser), PasswordHash: hash, Role: uint32(session.RoleSystem), AuthType: TypeInternal,
		},
		IfNotExists: true,
	}}})
	if err != nil && fault.KindOf(err) != fault.AlreadyExists {
		return fmt.Errorf("create user root: %w", err)
	}
	return nil
}

func (s *Service) setRootPassword(ctx context.Context, actor ident.UserID, hash string) error {
	err := s.execute(ctx, actor, &commandv1.Command{Body: &commandv1.Command_AlterUser{AlterUser: &commandv1.AlterUser{
		Id: string(RootUser), PasswordHash: &hash,
	}}})
	if err != nil {
		return fmt.Errorf("set root password: %w", err)
	}
	return nil
}

// Setup gives root its password and creates the first administrator, a user of role dba. The refusals are
// AlreadyConfigured, UserExists, InvalidUser and WeakPassword. Root's password is set first: when the node
// fails in between, root can log in and create the rest.
func (s *Service) Setup(ctx context.Context, request SetupRequest) (User, error) {
	s.setup.Lock()
	defer s.setup.Unlock()
	needed, err := s.NeedsSetup(ctx)
	if err != nil {
		return User{}, err
	}
	if !needed {
		return User{}, refuse(AlreadyConfigured, "The server is already set up")
	}
	if err = s.checkSetup(request); err != nil {
		return User{}, err
	}
	rootHash, err := s.Hash(ctx, request.RootPassword)
	if err != nil {
		return User{}, err
	}
	userHash, err := s.Hash(ctx, request.Password)
	if err != nil {
		return User{}, err
	}
	if err := s.setOrCreateRoot(ctx, rootHash); err != nil {
		return User{}, err
	}
	return s.createAdministrator(ctx, request, userHash)
}

func (s *Service) checkSetup(request SetupRequest) error {
	if !ValidUserID(string(request.User)) || request.User == "system" || request.User == "anonymous" {
		return refuse(InvalidUser, "The user name is empty, reserved, too long, or has characters that are not allowed")
	}
	if _, exists := s.account(request.User); exists || request.User == RootUser {
		return refuse(UserExists, "The user already exists")
	}
	if err := s.CheckPassword(request.RootPassword); err != nil {
		return err
	}
	return s.CheckPassword(request.Password)
}

func (s *Service) setOrCreateRoot(ctx context.Context, hash string) error {
	if _, exists := s.account(RootUser); exists {
		return s.setRootPassword(ctx, RootUser, hash)
	}
	err := s.execute(ctx, RootUser, &commandv1.Command{Body: &commandv1.Command_CreateUser{CreateUser: &commandv1.CreateUser{
		User: &commandv1.User{
			Id: string(RootUser), PasswordHash: hash, Role: uint32(session.RoleSystem), AuthType: TypeInternal,
		},
	}}})
	if err != nil {
		return fmt.Errorf("create user root: %w", err)
	}
	return nil
}

func (s *Service) createAdministrator(ctx context.Context, request SetupRequest, hash string) (User, error) {
	err := s.execute(ctx, RootUser, &commandv1.Command{Body: &commandv1.Command_CreateUser{CreateUser: &commandv1.CreateUser{
		User: &commandv1.User{
			Id: string(request.User), PasswordHash: hash, Role: uint32(session.RoleDBA), Email: request.Email,
			AuthType: TypePassword,
		},
	}}})
	if fault.KindOf(err) == fault.AlreadyExists {
		return User{}, refuse(UserExists, "The user already exists")
	}
	if err != nil {
		return User{}, fmt.Errorf("create user %s: %w", request.User, err)
	}
	account, ok := s.account(request.User)
	if !ok {
		return User{}, fmt.Errorf("create user %s: the account was dropped at once", request.User)
	}
	return userOf(account), nil
}
