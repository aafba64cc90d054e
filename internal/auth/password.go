package auth

import (
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// maxPasswordBytes is what bcrypt reads; longer passwords are refused rather than cut.
const maxPasswordBytes = 72

// hasher computes bcrypt hashes on a bounded number of callers at once.
type hasher struct {
	cost    int
	running chan struct{} // one token for each hash under way
	queue   chan struct{} // one token for each caller, waiting or running
	dummy   []byte        // hash compared against when there is no account
}

func newHasher(config Config) (*hasher, error) {
	if config.BcryptCost < bcrypt.MinCost || config.BcryptCost > bcrypt.MaxCost {
		return nil, fmt.Errorf("bcrypt cost %d: allowed are %d to %d", config.BcryptCost, bcrypt.MinCost, bcrypt.MaxCost)
	}
	if config.HashWorkers < 0 || config.HashQueue < 0 {
		return nil, fmt.Errorf("hash workers %d, queue %d: must not be negative", config.HashWorkers, config.HashQueue)
	}
	dummy, err := bcrypt.GenerateFromPassword([]byte("no account has this password"), config.BcryptCost)
	if err != nil {
		return nil, fmt.Errorf("hash: %w", err)
	}
	return &hasher{
		cost:    config.BcryptCost,
		running: make(chan struct{}, config.HashWorkers),
		queue:   make(chan struct{}, config.HashWorkers+config.HashQueue),
		dummy:   dummy,
	}, nil
}

// run calls work when it is the caller's turn.
func (h *hasher) run(ctx context.Context, work func()) error {
	select {
	case h.queue <- struct{}{}:
	default:
		return fault.New(fault.Overloaded, "too many logins are under way; try again later")
	}
	defer func() { <-h.queue }()
	select {
	case h.running <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for password hashing: %w", ctx.Err())
	}
	defer func() { <-h.running }()
	work()
	return nil
}

func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	var hashed []byte
	var failure error
	err := h.run(ctx, func() { hashed, failure = bcrypt.GenerateFromPassword([]byte(password), h.cost) })
	if err != nil {
		return "", err
	}
	if failure != nil {
		return "", fmt.Errorf("hash password: %w", failure)
	}
	return string(hashed), nil
}

// matches compares a password with a stored hash; without one it does the same work and answers false. No password is empty, whatever
// hash was stored when there were such.
func (h *hasher) matches(ctx context.Context, stored, password string) (bool, error) {
	target, possible := []byte(stored), true
	if stored == "" || password == "" || len(password) > maxPasswordBytes {
		target, possible = h.dummy, false
	}
	var mismatch error
	shortened := password[:min(len(password), maxPasswordBytes)]
	err := h.run(ctx, func() { mismatch = bcrypt.CompareHashAndPassword(target, []byte(shortened)) })
	if err != nil {
		return false, err
	}
	return possible && mismatch == nil, nil
}

// Hash returns the bcrypt hash of a new password. It refuses one that bcrypt would cut with
// fault.LimitExceeded and returns fault.Overloaded when too many hashes are under way.
func (s *Service) Hash(ctx context.Context, password string) (string, error) {
	if len(password) > s.config.MaxPassword {
		return "", fault.New(fault.LimitExceeded, "the password is longer than %d bytes", s.config.MaxPassword)
	}
	return s.passwords.hash(ctx, password)
}

// Check judges the password of a statement that sets one, with fault.InvalidStatement. Such statements are
// run by administrators: the whole policy applies only when the complexity rule is on, else only what bcrypt
// can read. An empty password is none, and refused whatever the policy is.
func (s *Service) Check(password string) error {
	if password == "" {
		return fault.New(fault.InvalidStatement, "the password must not be empty")
	}
	if !s.config.ComplexityRule && len(password) <= s.config.MaxPassword {
		return nil
	}
	if err := s.CheckPassword(password); err != nil {
		return fault.New(fault.InvalidStatement, "%w", err)
	}
	return nil
}

// CheckPassword judges a new password by the policy: length, the list of common passwords and, when it is
// on, the complexity rule. The refusal is an *Error with WeakPassword.
func (s *Service) CheckPassword(password string) error {
	switch {
	case !utf8.ValidString(password) || strings.ContainsRune(password, 0):
		return refuse(WeakPassword, "The password must be valid text without NUL characters")
	case utf8.RuneCountInString(password) < s.config.MinPassword:
		return refuse(WeakPassword, fmt.Sprintf("The password must have at least %d characters", s.config.MinPassword))
	case len(password) > s.config.MaxPassword:
		return refuse(WeakPassword, fmt.Sprintf("The password must have at most %d bytes", s.config.MaxPassword))
	case isCommonPassword(password):
		return refuse(WeakPassword, "The password is too common")
	case s.config.ComplexityRule && !isComplex(password):
		return refuse(WeakPassword,
			"The password needs a lower-case letter, an upper-case letter, a digit and another character")
	}
	return nil
}

func isComplex(password string) bool {
	var lower, upper, digit, other bool
	for _, r := range password {
		switch {
		case unicode.IsLower(r):
			lower = true
		case unicode.IsUpper(r):
			upper = true
		case unicode.IsDigit(r):
			digit = true
		default:
			other = true
		}
	}
	return lower && upper && digit && other
}

// isCommonPassword knows the passwords that are tried first. All have at least eight characters, since
// shorter ones fail by length.
func isCommonPassword(password string) bool {
	switch strings.ToLower(password) {
	case "password", "password1", "password12", "password123", "passw0rd", "p@ssw0rd", "p@ssword", "12345678",
		"123456789", "1234567890", "87654321", "11111111", "00000000", "qwertyui", "qwerty123", "qwertyuiop",
		"1q2w3e4r", "iloveyou", "sunshine", "princess", "football", "baseball", "superman", "trustno1",
		"letmein1", "welcome1", "welcome123", "admin123", "administrator", "changeme", "changeme123", "default1",
		"abcd1234", "abc12345", "asdfghjk", "zaq12wsx", "starwars", "whatever", "computer", "michelle",
		"jennifer", "kalamdb1", "kalamdb123", "secret123", "rootroot", "toor1234", "test1234", "testtest":
		return true
	}
	return false
}
