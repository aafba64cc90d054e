package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

const (
	issuer        = "kalamdb"
	typeAccess    = "access"
	typeRefresh   = "refresh"
	clockLeeway   = 60 * time.Second // how far the clocks of two nodes may differ
	maxTokenBytes = 8 << 10
)

// claims is the payload of a token.
type claims struct {
	jwt.RegisteredClaims
	Email     string `json:"email,omitempty"`
	Role      string `json:"role"`
	TokenType string `json:"token_type"`
	// Family is that of the login that the token came of, in hexadecimal; Serial counts the refresh tokens of it. Tokens of older
	// versions have neither.
	Family string `json:"family,omitempty"`
	Serial uint32 `json:"serial,omitempty"`
	// Password is the mark of the password that the account had when the token was given; see passwordMark. Tokens of older
	// versions have none.
	Password string `json:"password,omitempty"`

	// fitted is the hash of the account's password that the token was last found to fit. Every request compares it, and few
	// compute a mark.
	fitted string

	// Of a token of an external issuer, which names no role of ours: what its account said when it was found, and the roles that
	// the token names where it must name that of the account.
	external  bool
	authData  string
	roles     []string
	wantsRole bool
}

// Grant is what a successful login or refresh hands out.
type Grant struct {
	User           User
	AccessToken    string
	AccessExpires  time.Time
	RefreshToken   string
	RefreshExpires time.Time
}

// Authenticate checks an access token. The refusals are MissingAuthorization, TokenExpired and
// InvalidCredentials.
func (s *Service) Authenticate(ctx context.Context, token string) (Identity, error) {
	identity, err := s.authenticate(ctx, token, typeAccess)
	if refusal, ok := errors.AsType[*Error](err); ok && s.awaitsSetup() {
		return identity, &Error{Reason: refusal.Reason, Message: refusal.Message, AwaitsSetup: true}
	}
	return identity, err
}

// awaitsSetup reports whether root has no password, as far as this node knows.
func (s *Service) awaitsSetup() bool {
	root, ok := s.account(RootUser)
	return ok && root.PasswordHash == ""
}

// Refresh exchanges a refresh token for new tokens. The refusals are those of Authenticate. The old token is replaced: who shows it
// again later than a moment ends all tokens that came of the same login, because one of the two who have it stole it.
func (s *Service) Refresh(ctx context.Context, token string) (Grant, error) {
	identity, verified, err := s.authenticated(ctx, token, typeRefresh)
	if err != nil {
		return Grant{}, err
	}
	if s.config.ReuseRefreshTokens {
		return s.grant(identity, familyOf(verified, token), verified.Serial)
	}
	family := familyOf(verified, token)
	cmd := &commandv1.Command{Body: &commandv1.Command_RotateToken{RotateToken: &commandv1.RotateToken{
		UserId: string(identity.User.ID), Family: family[:], Serial: verified.Serial,
		ExpiresMicros: s.config.Clock.Now().Add(s.config.RefreshLife + clockLeeway).UnixMicro(), GraceMicros: s.config.RefreshGrace.Microseconds(),
	}}}
	cmd.Header = &commandv1.Header{Audit: s.note(ctx, cmd)}
	response, err := s.config.Executor.Execute(ctx, metaGroup, cmd)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return Grant{}, invalidToken()
	case err != nil:
		return Grant{}, fmt.Errorf("replace refresh token: %w", err)
	case response.GetObjectId() == 0 || response.GetObjectId() > math.MaxUint32:
		return Grant{}, invalidToken()
	}
	return s.grant(identity, family, uint32(response.GetObjectId())) //nolint:gosec // checked above
}

// Logout ends the tokens of the logins that tokens came of, whatever their type. A token that is not good, or that an external issuer gave,
// is left alone. It returns fault.Unavailable when the end could not be recorded.
func (s *Service) Logout(ctx context.Context, tokens ...string) error {
	for _, token := range tokens {
		if token == "" || len(token) > maxTokenBytes || s.externalOf(token) != nil {
			continue
		}
		key := tokenKey(sha256.Sum256([]byte(token)))
		verified, err := s.verify(ctx, key, token)
		if _, refused := errors.AsType[*Error](err); refused || err == nil && verified.Family == "" && verified.TokenType != typeRefresh {
			continue
		}
		if err != nil {
			return err
		}
		account, err := s.claimedAccount(ctx, key, &verified)
		if _, refused := errors.AsType[*Error](err); refused {
			continue
		}
		if err != nil {
			return err
		}
		if err = s.endFamily(ctx, account, familyOf(verified, token)); err != nil {
			return err
		}
	}
	return nil
}

// noSerial is the number of no token of a family, so that showing it ends the family.
const noSerial = math.MaxUint32

// endFamily ends a family. One whose first token was never replaced is not known; it is made known before.
func (s *Service) endFamily(ctx context.Context, account catalog.User, family tokenFamily) error {
	serials := []uint32{0, noSerial}
	if found, known := account.Family(family); known {
		if found.Revoked {
			return nil
		}
		serials = serials[1:]
	}
	for _, serial := range serials {
		cmd := &commandv1.Command{Body: &commandv1.Command_RotateToken{RotateToken: &commandv1.RotateToken{
			UserId: string(account.ID), Family: family[:], Serial: serial,
			ExpiresMicros: s.config.Clock.Now().Add(s.config.RefreshLife + clockLeeway).UnixMicro(), GraceMicros: s.config.RefreshGrace.Microseconds(),
		}}}
		note := s.note(ctx, cmd)
		if note != nil {
			note.Action = Logout
		}
		cmd.Header = &commandv1.Header{Actor: string(account.ID), Audit: note}
		if _, err := s.config.Executor.Execute(ctx, metaGroup, cmd); err != nil && fault.KindOf(err) != fault.NotFound {
			return fmt.Errorf("end tokens: %w", err)
		}
	}
	return nil
}

// familyOf is the family of a token. One of an older version, which names none, has its own.
func familyOf(verified claims, token string) (family tokenFamily) {
	if raw, err := hex.DecodeString(verified.Family); err == nil && len(raw) == len(family) {
		return tokenFamily(raw)
	}
	sum := sha256.Sum256([]byte(token))
	copy(family[:], sum[:])
	return family
}

// tokenFamily is what came of one login.
type tokenFamily [16]byte

func newTokenFamily() (family tokenFamily, err error) {
	if _, err = rand.Read(family[:]); err != nil {
		return family, fmt.Errorf("token family: %w", err)
	}
	return family, nil
}

func (s *Service) authenticate(ctx context.Context, token, tokenType string) (Identity, error) {
	identity, _, err := s.authenticated(ctx, token, tokenType)
	return identity, err
}

func (s *Service) authenticated(ctx context.Context, token, tokenType string) (Identity, claims, error) {
	if token == "" {
		return Identity{}, claims{}, refuse(MissingAuthorization, "An access token is required")
	}
	if len(token) > maxTokenBytes {
		return Identity{}, claims{}, invalidToken()
	}
	key := tokenKey(sha256.Sum256([]byte(token)))
	verified, err := s.verify(ctx, key, token)
	if err != nil {
		return Identity{}, claims{}, err
	}
	// A remembered token may have expired since it was verified.
	if !s.config.Clock.Now().Before(verified.ExpiresAt.Add(clockLeeway)) {
		return Identity{}, claims{}, refuse(TokenExpired, "The token has expired")
	}
	if verified.TokenType != tokenType {
		return Identity{}, claims{}, invalidToken()
	}
	account, err := s.claimedAccount(ctx, key, &verified)
	if err != nil {
		return Identity{}, claims{}, err
	}
	if len(account.Families) > 0 {
		if family, known := account.Family(familyOf(verified, token)); known && family.Revoked {
			return Identity{}, claims{}, invalidToken()
		}
	}
	return Identity{User: userOf(account), Expires: verified.ExpiresAt.Time, password: account.PasswordHash}, verified, nil
}

// claimedAccount returns the stored account that the claims name. A node that lags behind may not know the
// account yet, so what does not fit is read again after a barrier. Only holders of a token with a good
// signature get that far.
func (s *Service) claimedAccount(ctx context.Context, key tokenKey, verified *claims) (catalog.User, error) {
	fits := func() (catalog.User, bool) {
		account, ok := s.account(ident.UserID(verified.Subject))
		if verified.external {
			return account, ok && verified.fitsExternal(&account)
		}
		return account, ok && account.Role.String() == verified.Role && s.fitsPassword(key, verified, &account)
	}
	if account, ok := fits(); ok {
		return account, nil
	}
	if _, err := s.config.Executor.Barrier(ctx, metaGroup); err != nil {
		return catalog.User{}, fmt.Errorf("read account: %w", err)
	}
	if account, ok := fits(); ok {
		return account, nil
	}
	return catalog.User{}, invalidToken()
}

// verify checks signature, issuer and times, and remembers tokens that are good.
func (s *Service) verify(ctx context.Context, key tokenKey, token string) (claims, error) {
	signing, err := s.config.Secret()
	if err != nil {
		return claims{}, fmt.Errorf("token key: %w", err)
	}
	if verified, ok := s.tokens.get(key, signing); ok {
		return verified, nil
	}
	if from := s.externalOf(token); from != nil {
		verified, failure := s.verifyExternal(ctx, from, token)
		if failure == nil {
			s.tokens.add(key, signing, verified)
		}
		return verified, failure
	}
	var parsed claims
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(issuer),
		jwt.WithLeeway(clockLeeway),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(s.config.Clock.Now),
	)
	_, err = parser.ParseWithClaims(token, &parsed, func(*jwt.Token) (any, error) { return signing, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenInvalidIssuer) &&
		!errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return claims{}, refuse(TokenExpired, "The token has expired")
	case err != nil || parsed.Subject == "":
		return claims{}, invalidToken()
	}
	s.tokens.add(key, signing, parsed)
	return parsed, nil
}

// grant issues an access and a refresh token of a family.
func (s *Service) grant(identity Identity, family tokenFamily, serial uint32) (Grant, error) {
	user := identity.User
	signing, err := s.config.Secret()
	if err != nil {
		return Grant{}, fmt.Errorf("token key: %w", err)
	}
	now := s.config.Clock.Now().UTC().Truncate(time.Second)
	grant := Grant{
		User:           user,
		AccessExpires:  now.Add(s.config.AccessLife),
		RefreshExpires: now.Add(s.config.RefreshLife),
	}
	body := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: string(user.ID), Issuer: issuer, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(grant.AccessExpires),
		},
		Email: user.Email, Role: user.Role.String(), TokenType: typeAccess, Family: hex.EncodeToString(family[:]),
		Password: passwordMark(signing, user.ID, identity.password),
	}
	if grant.AccessToken, err = sign(signing, body); err != nil {
		return Grant{}, err
	}
	body.ExpiresAt, body.TokenType, body.Serial = jwt.NewNumericDate(grant.RefreshExpires), typeRefresh, serial
	grant.RefreshToken, err = sign(signing, body)
	return grant, err
}

func sign(signing []byte, body claims) (string, error) {
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, body).SignedString(signing)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return signed, nil
}
