package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/ident"
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

// Refresh exchanges a refresh token for new tokens. The refusals are those of Authenticate. The old token
// stays good until it expires.
func (s *Service) Refresh(ctx context.Context, token string) (Grant, error) {
	identity, err := s.authenticate(ctx, token, typeRefresh)
	if err != nil {
		return Grant{}, err
	}
	return s.grant(identity.User)
}

func (s *Service) authenticate(ctx context.Context, token, tokenType string) (Identity, error) {
	if token == "" {
		return Identity{}, refuse(MissingAuthorization, "An access token is required")
	}
	if len(token) > maxTokenBytes {
		return Identity{}, invalidToken()
	}
	verified, err := s.verify(token)
	if err != nil {
		return Identity{}, err
	}
	// A remembered token may have expired since it was verified.
	if !s.config.Clock.Now().Before(verified.ExpiresAt.Add(clockLeeway)) {
		return Identity{}, refuse(TokenExpired, "The token has expired")
	}
	if verified.TokenType != tokenType {
		return Identity{}, invalidToken()
	}
	account, err := s.claimedAccount(ctx, verified)
	if err != nil {
		return Identity{}, err
	}
	return Identity{User: userOf(account), Expires: verified.ExpiresAt.Time}, nil
}

// claimedAccount returns the stored account that the claims name. A node that lags behind may not know the
// account yet, so what does not fit is read again after a barrier. Only holders of a token with a good
// signature get that far.
func (s *Service) claimedAccount(ctx context.Context, verified claims) (catalog.User, error) {
	fits := func() (catalog.User, bool) {
		account, ok := s.account(ident.UserID(verified.Subject))
		return account, ok && account.Role.String() == verified.Role
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
func (s *Service) verify(token string) (claims, error) {
	signing, err := s.config.Secret()
	if err != nil {
		return claims{}, fmt.Errorf("token key: %w", err)
	}
	key := tokenKey(sha256.Sum256([]byte(token)))
	if verified, ok := s.tokens.get(key, signing); ok {
		return verified, nil
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

// grant issues an access and a refresh token.
func (s *Service) grant(user User) (Grant, error) {
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
	if grant.AccessToken, err = sign(signing, user, typeAccess, now, grant.AccessExpires); err != nil {
		return Grant{}, err
	}
	grant.RefreshToken, err = sign(signing, user, typeRefresh, now, grant.RefreshExpires)
	return grant, err
}

func sign(signing []byte, user User, tokenType string, issued, expires time.Time) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject:   string(user.ID),
			Issuer:    issuer,
			IssuedAt:  jwt.NewNumericDate(issued),
			ExpiresAt: jwt.NewNumericDate(expires),
		},
		Email:     user.Email,
		Role:      user.Role.String(),
		TokenType: tokenType,
	})
	signed, err := token.SignedString(signing)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return signed, nil
}
