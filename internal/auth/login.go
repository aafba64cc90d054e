package auth

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// lastLoginGrain is how old the stored time of a login may get before a new login renews it. It spares the
// log one command for each login of a busy client.
const lastLoginGrain = time.Minute

// MaxUserBytes bounds a user id.
const MaxUserBytes = 128

// ValidUserID reports whether text can name a user: 1 to 128 bytes of UTF-8 without control characters,
// slashes or two dots in a row, since ids become parts of paths.
func ValidUserID(text string) bool {
	if text == "" || len(text) > MaxUserBytes || !utf8.ValidString(text) || strings.Contains(text, "..") {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r == '/' || r == '\\' || r < ' ' || r == 0x7f
	})
}

// Login checks a password and hands out tokens. The refusals are InvalidCredentials, AccountLocked and
// SetupRequired. It returns fault.Unavailable when failures could not be counted, and fault.Overloaded
// when too many logins are under way.
func (s *Service) Login(ctx context.Context, user ident.UserID, password string) (Grant, error) {
	if _, err := s.config.Executor.Barrier(ctx, metaGroup); err != nil {
		return Grant{}, fmt.Errorf("read account: %w", err)
	}
	account, exists := s.account(user)
	if user == RootUser && password == "" && account.PasswordHash == "" {
		return Grant{}, refuse(SetupRequired, "The server has to be set up first: root has no password")
	}
	if s.locked(account) {
		return Grant{}, accountLocked()
	}
	stored := account.PasswordHash
	if kind := account.AuthType; kind != TypePassword && kind != TypeInternal {
		stored = ""
	}
	matches, err := s.passwords.matches(ctx, stored, password)
	if err != nil {
		return Grant{}, err
	}
	if !matches {
		return Grant{}, s.countFailure(ctx, user, exists)
	}
	return s.admit(ctx, user, stored)
}

// admit lets a caller in whose password was right when it was compared. Other attempts may have locked the
// account, or an administrator may have changed it, while the hash was computed.
func (s *Service) admit(ctx context.Context, user ident.UserID, stored string) (Grant, error) {
	account, ok := s.account(user)
	if !ok || account.PasswordHash != stored {
		return Grant{}, invalidCredentials()
	}
	if s.locked(account) {
		return Grant{}, accountLocked()
	}
	last := time.UnixMicro(account.LastLoginMicros)
	if account.FailedLogins > 0 || s.config.Clock.Now().Sub(last) >= lastLoginGrain {
		err := s.execute(ctx, user, recordLogin(user, true, s.config))
		if fault.KindOf(err) == fault.PermissionDenied {
			// Attempts on other nodes locked the account first.
			return Grant{}, accountLocked()
		}
		if err != nil {
			return Grant{}, fmt.Errorf("record login: %w", err)
		}
	}
	family, err := newTokenFamily()
	if err != nil {
		return Grant{}, err
	}
	return s.grant(Identity{User: userOf(account), password: stored}, family, 0)
}

// countFailure counts a failed login and returns the refusal. Unknown users are counted too, in vain, so
// that the time taken tells nothing; ids that no user can have are not worth a command, unless an account has
// one all the same.
func (s *Service) countFailure(ctx context.Context, user ident.UserID, exists bool) error {
	if s.config.LockoutFailures <= 0 || !exists && !ValidUserID(string(user)) {
		return invalidCredentials()
	}
	err := s.execute(ctx, user, recordLogin(user, false, s.config))
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return fmt.Errorf("record failed login: %w", err)
	}
	return invalidCredentials()
}

func (s *Service) locked(account catalog.User) bool {
	return s.config.LockoutFailures > 0 && account.LockedUntilMicros > s.config.Clock.Now().UnixMicro()
}

func accountLocked() error {
	return refuse(AccountLocked, "The account is locked after too many failed logins; try again later")
}

func recordLogin(user ident.UserID, success bool, config Config) *commandv1.Command {
	return &commandv1.Command{Body: &commandv1.Command_RecordLogin{RecordLogin: &commandv1.RecordLogin{
		Id:            string(user),
		Success:       success,
		LockAfter:     uint32(max(0, config.LockoutFailures)), //nolint:gosec // bounded by configuration
		LockForMicros: config.LockoutFor.Microseconds(),
	}}}
}
