// Package auth proves who a caller is: passwords, tokens, lockout and the first setup.
//
// Service is the only type callers need. It reads accounts from the catalog and changes them only by
// commands of the meta group, so every node counts the same failed logins. What always holds:
//
//   - The role comes from the stored account. A token that claims another role, or an account that is
//     gone, is refused.
//   - An unknown user and a wrong password look the same: the same answer, the same hashing work, the
//     same command.
//   - A failed login is counted durably before it is answered; when it cannot be counted, the login is
//     refused as unavailable.
//   - An account without a password hash never logs in.
//   - A token ends when the password of its account changes: it carries a mark of the one that it was given under.
//   - A token of an external issuer lets in the owner of an OAUTH account that was made for its subject, and nobody else.
//
// Hashing is slow on purpose. It runs on a bounded number of callers at once with a bounded queue before
// them; more are refused as overloaded.
package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// RootUser is the account of the server's own administrator, made at the first start.
const RootUser ident.UserID = "root"

// Types of accounts, as User.auth_type stores them.
const (
	TypePassword = "password"
	TypeInternal = "internal"
)

// SecretSource returns the key that signs tokens. It is asked for every token and must be fast; when it
// answers another key, tokens of the old one stop working.
type SecretSource func() ([]byte, error)

// Config is what a Service needs.
type Config struct {
	Catalog  *catalog.Store           // required; the accounts as this node knows them
	Executor executor.CommandExecutor // required; runs the commands of the meta group
	Clock    clock.Clock              // required
	Secret   SecretSource             // required

	AccessLife  time.Duration // life of an access token; default 24 h
	RefreshLife time.Duration // life of a refresh token; default 7 days
	// RefreshGrace is for how long after a refresh the token before is good, for programs that share one and answers that get lost;
	// default one minute.
	RefreshGrace time.Duration
	// ReuseRefreshTokens leaves refresh tokens good until they end, as many times as they are shown.
	ReuseRefreshTokens bool

	BcryptCost     int // work factor, 4 to 31; default 12
	HashWorkers    int // hashes computed at once; default 2
	HashQueue      int // callers that wait for their turn; default 64; more are refused as overloaded
	MinPassword    int // shortest password in characters; default 8
	MaxPassword    int // longest password in bytes, at most 72; default 72
	ComplexityRule bool

	LockoutFailures int           // failures in a row that lock an account; 0 never locks
	LockoutFor      time.Duration // how long it stays locked; default 15 min

	AuditEntries uint32 // entries that the audit log keeps; zero writes none

	Issuers []Issuer // external issuers whose tokens let the owners of OAUTH accounts in

	CachedTokens int // verified tokens that are remembered; default 16,384; the oldest are forgotten first
}

// Service authenticates callers. It is safe for concurrent use and owns no goroutine.
type Service struct {
	config    Config
	passwords *hasher
	tokens    *tokenCache
	externals map[string]*external // by the iss of their tokens
	setup     sync.Mutex           // held while the first setup runs on this node
}

// New checks the configuration and makes a Service. It computes one password hash, which takes as long as
// a login.
func New(config Config) (*Service, error) {
	if config.Catalog == nil || config.Executor == nil || config.Clock == nil || config.Secret == nil {
		return nil, errors.New("auth: catalog, executor, clock and secret are required")
	}
	setDefault(&config.AccessLife, 24*time.Hour)
	setDefault(&config.RefreshLife, 7*24*time.Hour)
	setDefault(&config.RefreshGrace, time.Minute)
	setDefault(&config.BcryptCost, 12)
	setDefault(&config.HashWorkers, 2)
	setDefault(&config.HashQueue, 64)
	setDefault(&config.MinPassword, 8)
	setDefault(&config.MaxPassword, maxPasswordBytes)
	setDefault(&config.LockoutFor, 15*time.Minute)
	setDefault(&config.CachedTokens, 16_384)
	passwords, err := newHasher(config)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	externals, err := newExternals(config)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	return &Service{config: config, passwords: passwords, tokens: newTokenCache(config.CachedTokens), externals: externals}, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// User is an account as its owner may see it.
type User struct {
	ID            ident.UserID
	Role          session.Role
	Email         string // empty when none is known
	CreatedMicros int64
	UpdatedMicros int64
}

// Identity is a caller who proved to be a user.
type Identity struct {
	User    User
	Expires time.Time // when the token ends

	password string // the hash of it that the account had when the identity was proved
}

// Session makes the session of the caller's request.
func (i Identity) Session(namespace, clientIP string) session.Session {
	return session.Session{
		User: i.User.ID, Role: i.User.Role, Namespace: namespace, ClientIP: clientIP, Account: true, Password: session.Hash(i.password),
	}
}

func userOf(account catalog.User) User {
	return User{
		ID: account.ID, Role: account.Role, Email: account.Email,
		CreatedMicros: account.CreatedMicros, UpdatedMicros: account.UpdatedMicros,
	}
}

// account returns the live account of id, from this node's newest catalog; ok is false, and the account
// empty, when there is none. An empty account has no password and logs in nobody.
func (s *Service) account(id ident.UserID) (account catalog.User, ok bool) {
	found, ok := s.config.Catalog.Current().User(id)
	if !ok {
		return catalog.User{}, false
	}
	return *found, true
}

// execute runs a command of the meta group on behalf of actor; "" is the server itself.
func (s *Service) execute(ctx context.Context, actor ident.UserID, cmd *commandv1.Command) error {
	cmd.Header = &commandv1.Header{Actor: string(actor), Audit: s.note(ctx, cmd)}
	_, err := s.config.Executor.Execute(ctx, metaGroup, cmd)
	return err
}
