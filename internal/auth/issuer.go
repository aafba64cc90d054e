package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
)

// TypeOAuth is the type of accounts that log in with tokens of an external issuer.
const TypeOAuth = "oauth"

const (
	maxIssuers          = 16
	maxIssuersFileBytes = 64 << 10
)

// Issuer is an external issuer whose tokens let the owners of OAUTH accounts in. Which account that is says the account: it names
// the provider and the subject. The role is always that of the account.
type Issuer struct {
	Issuer    string   `json:"issuer"`     // required; the iss of its tokens, and where its keys are discovered
	Provider  string   `json:"provider"`   // what accounts call it; empty means the issuer itself
	Audience  []string `json:"audience"`   // required; a token must be meant for one of them
	JWKSURL   string   `json:"jwks_url"`   // where its keys are; empty asks <issuer>/.well-known/openid-configuration
	JWKSFile  string   `json:"jwks_file"`  // a file with its keys, for servers without a way out; excludes jwks_url
	RoleClaim string   `json:"role_claim"` // a claim, a text or a list, that must name the role of the account; empty asks for none
}

// LoadIssuers reads a file with a JSON list of issuers.
func LoadIssuers(path string) ([]Issuer, error) {
	data, err := readBounded(path, maxIssuersFileBytes)
	if err != nil {
		return nil, err
	}
	var list []Issuer
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err = decoder.Decode(&list); err != nil {
		return nil, fmt.Errorf("%s: want a JSON list of issuers: %w", path, err)
	}
	return list, nil
}

func readBounded(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", path, info.Size(), most)
	}
	return os.ReadFile(path) //nolint:gosec // the administrator names it
}

// validate says what is wrong with an issuer.
func (i *Issuer) validate() error {
	switch {
	case i.Issuer == "" || i.Issuer == issuer:
		return fmt.Errorf("issuer %q: want the iss of an external issuer's tokens", i.Issuer)
	case len(i.Audience) == 0 || slices.Contains(i.Audience, ""):
		return fmt.Errorf("issuer %s: audience is required: tokens for other programs must not be good here", i.Issuer)
	case i.JWKSURL != "" && i.JWKSFile != "":
		return fmt.Errorf("issuer %s: either jwks_url or jwks_file", i.Issuer)
	case i.JWKSFile != "":
		return nil
	case i.JWKSURL != "":
		return checkKeyURL(i.JWKSURL)
	}
	return checkKeyURL(i.Issuer)
}

// checkKeyURL wants https, except from this machine itself: who can change the keys on their way can be anybody.
func checkKeyURL(text string) error {
	at, err := url.Parse(text)
	if err != nil || at.Host == "" {
		return fmt.Errorf("%q is no URL", text)
	}
	if at.Scheme == "https" {
		return nil
	}
	if address := net.ParseIP(at.Hostname()); at.Scheme == "http" && (address != nil && address.IsLoopback() || at.Hostname() == "localhost") {
		return nil
	}
	return fmt.Errorf("%s: keys are fetched over https only", text)
}

// external is an issuer at work.
type external struct {
	Issuer
	keys *keySet
}

func newExternals(config Config) (map[string]*external, error) {
	if len(config.Issuers) > maxIssuers {
		return nil, fmt.Errorf("%d issuers; at most %d are allowed", len(config.Issuers), maxIssuers)
	}
	found := make(map[string]*external, len(config.Issuers))
	for _, described := range config.Issuers {
		if err := described.validate(); err != nil {
			return nil, err
		}
		if found[described.Issuer] != nil {
			return nil, fmt.Errorf("issuer %s is listed twice", described.Issuer)
		}
		if described.Provider == "" {
			described.Provider = described.Issuer
		}
		keys, err := newKeySet(described, config.Clock)
		if err != nil {
			return nil, fmt.Errorf("issuer %s: %w", described.Issuer, err)
		}
		found[described.Issuer] = &external{Issuer: described, keys: keys}
	}
	return found, nil
}

// externalOf returns the issuer that a token says it is from, nil when it is not an external one. Nothing is believed yet.
func (s *Service) externalOf(token string) *external {
	if len(s.externals) == 0 {
		return nil
	}
	var unverified jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &unverified); err != nil {
		return nil
	}
	return s.externals[unverified.Issuer]
}

// verifyExternal checks a token of an external issuer and finds its account. Keys are public, so symmetric methods are refused:
// anybody could sign with a public key.
func (s *Service) verifyExternal(ctx context.Context, from *external, token string) (claims, error) {
	parsed := jwt.MapClaims{}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}),
		jwt.WithIssuer(from.Issuer.Issuer),
		jwt.WithAudience(from.Audience...),
		jwt.WithLeeway(clockLeeway),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(s.config.Clock.Now),
	)
	var fetching error
	_, err := parser.ParseWithClaims(token, parsed, func(header *jwt.Token) (any, error) {
		id, _ := header.Header["kid"].(string)
		key, failure := from.keys.find(ctx, id, header.Method.Alg())
		fetching = failure
		return key, failure
	})
	switch {
	case errors.Is(fetching, errKeysUnavailable):
		return claims{}, keysUnavailable(from.Issuer.Issuer, fetching)
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenInvalidIssuer) && !errors.Is(err, jwt.ErrTokenInvalidAudience) &&
		!errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return claims{}, refuse(TokenExpired, "The token has expired")
	case err != nil:
		return claims{}, invalidToken()
	}
	subject, err := parsed.GetSubject()
	if err != nil || subject == "" {
		return claims{}, invalidToken()
	}
	expires, err := parsed.GetExpirationTime()
	if err != nil || expires == nil {
		return claims{}, invalidToken()
	}
	account, err := s.externalAccount(ctx, from.Provider, subject)
	if err != nil {
		return claims{}, err
	}
	return claims{
		RegisteredClaims: jwt.RegisteredClaims{Subject: string(account.ID), Issuer: from.Issuer.Issuer, ExpiresAt: expires},
		TokenType:        typeAccess,
		external:         true, authData: account.AuthData, roles: claimedRoles(parsed, from.RoleClaim), wantsRole: from.RoleClaim != "",
	}, nil
}

// claimedRoles are the texts of a claim.
func claimedRoles(parsed jwt.MapClaims, name string) []string {
	switch value := parsed[name].(type) {
	case string:
		return []string{value}
	case []any:
		var roles []string
		for _, item := range value {
			if text, ok := item.(string); ok {
				roles = append(roles, text)
			}
		}
		return roles
	}
	return nil
}

// externalAccount finds the account of a subject. A node that lags behind may not know it yet, so it is looked for again after a
// barrier.
func (s *Service) externalAccount(ctx context.Context, provider, subject string) (catalog.User, error) {
	if account, ok := s.boundAccount(provider, subject); ok {
		return account, nil
	}
	if _, err := s.config.Executor.Barrier(ctx, metaGroup); err != nil {
		return catalog.User{}, fmt.Errorf("read account: %w", err)
	}
	if account, ok := s.boundAccount(provider, subject); ok {
		return account, nil
	}
	return catalog.User{}, invalidToken()
}

// boundAccount looks through the accounts. It is done once for a token; when two accounts name the same subject, neither is let in.
func (s *Service) boundAccount(provider, subject string) (bound catalog.User, ok bool) {
	for _, account := range s.config.Catalog.Current().Users(false) {
		if account.AuthType != TypeOAuth || !strings.Contains(account.AuthData, "subject") {
			continue
		}
		var binding struct {
			Provider string `json:"provider"`
			Subject  string `json:"subject"`
		}
		if json.Unmarshal([]byte(account.AuthData), &binding) != nil || binding.Provider != provider || binding.Subject != subject {
			continue
		}
		if ok {
			return catalog.User{}, false
		}
		bound, ok = *account, true
	}
	return bound, ok
}

// fitsExternal reports whether an account is still the one that a token of an external issuer was for.
func (c *claims) fitsExternal(account *catalog.User) bool {
	return account.AuthType == TypeOAuth && account.AuthData == c.authData && (!c.wantsRole || slices.Contains(c.roles, account.Role.String()))
}
