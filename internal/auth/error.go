package auth

import (
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

const metaGroup = shard.Meta

// Reason says why a caller was refused.
type Reason uint8

// The reasons. Failures of the machinery, such as a lost quorum, are not among them: they are returned as
// *fault.Error.
const (
	InvalidCredentials   Reason = iota + 1 // unknown user, wrong password, or a token that proves nothing
	MissingAuthorization                   // no token was shown
	TokenExpired                           // the token was good once
	SetupRequired                          // root has no password yet
	AccountLocked                          // too many failed logins
	AlreadyConfigured                      // setup ran before
	UserExists                             // setup names a user that exists
	InvalidUser                            // setup names a user that cannot be
	WeakPassword                           // a new password breaks the policy
)

// Error is the refusal of a caller. Message is one sentence that may be shown to anyone.
type Error struct {
	Reason  Reason
	Message string
	// AwaitsSetup says of a token that was refused that nobody can have one: root has no password yet.
	AwaitsSetup bool
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// ReasonOf returns the reason that err carries; ok is false when it is no refusal.
func ReasonOf(err error) (reason Reason, ok bool) {
	if refusal, ok := errors.AsType[*Error](err); ok {
		return refusal.Reason, true
	}
	return 0, false
}

func refuse(reason Reason, message string) error { return &Error{Reason: reason, Message: message} }

func invalidCredentials() error { return refuse(InvalidCredentials, "Invalid credentials") }

func invalidToken() error { return refuse(InvalidCredentials, "Invalid token") }
