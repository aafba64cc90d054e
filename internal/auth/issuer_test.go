package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// provider is an OpenID Connect issuer on loopback whose keys a test changes.
type provider struct {
	*httptest.Server
	t       *testing.T
	mu      sync.Mutex // guards all below
	keys    map[string]crypto.Signer
	fetches int
	broken  bool
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{t: t, keys: map[string]crypto.Signer{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, map[string]any{"issuer": p.URL, "jwks_uri": p.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		p.fetches++
		p.mu.Unlock()
		p.answer(w, p.set())
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) answer(w http.ResponseWriter, body any) {
	p.mu.Lock()
	broken := p.broken
	p.mu.Unlock()
	if broken {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	if err := json.NewEncoder(w).Encode(body); err != nil {
		p.t.Error(err)
	}
}

func (p *provider) fetched() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

func (p *provider) breakDown(broken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = broken
}

// set is the key set of the provider.
func (p *provider) set() map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	number := base64.RawURLEncoding.EncodeToString
	var keys []map[string]string
	for id, signer := range p.keys {
		switch key := signer.Public().(type) {
		case *rsa.PublicKey:
			keys = append(keys, map[string]string{
				"kty": "RSA", "use": "sig", "kid": id, "n": number(key.N.Bytes()), "e": "AQAB",
			})
		case *ecdsa.PublicKey:
			point, err := key.Bytes()
			if err != nil {
				p.t.Error(err)
			}
			half := len(point) / 2
			keys = append(keys, map[string]string{
				"kty": "EC", "crv": key.Params().Name, "alg": "ES256", "kid": id, "x": number(point[1 : 1+half]), "y": number(point[1+half:]),
			})
		}
	}
	keys = append(keys,
		map[string]string{"kty": "oct", "kid": "symmetric", "k": "c2VjcmV0"},
		map[string]string{"kty": "RSA", "kid": "weak", "n": "3q2-7w", "e": "AQAB"},
		map[string]string{"kty": "EC", "crv": "P-256", "kid": "damaged", "x": "AQ", "y": "AQ"})
	return map[string]any{"keys": keys}
}

func (p *provider) add(id string, key crypto.Signer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[id] = key
}

// token signs claims with the key of an id, which the provider need not publish.
func (p *provider) token(method jwt.SigningMethod, id string, key any, changed jwt.MapClaims) string {
	p.t.Helper()
	body := jwt.MapClaims{"iss": p.URL, "aud": "kalam", "sub": "ann-at-provider"}
	for name, value := range changed {
		if body[name] = value; value == nil {
			delete(body, name)
		}
	}
	token := jwt.NewWithClaims(method, body)
	token.Header["kid"] = id
	signed, err := token.SignedString(key)
	if err != nil {
		p.t.Fatal(err)
	}
	return signed
}

func (w *world) addOAuth(id, data string, role session.Role) {
	w.t.Helper()
	w.run(&commandv1.Command{Body: &commandv1.Command_CreateUser{CreateUser: &commandv1.CreateUser{User: &commandv1.User{
		Id: id, Role: uint32(role), AuthType: auth.TypeOAuth, AuthData: data,
	}}}})
}

func newKeys(t *testing.T) (*rsa.PrivateKey, *ecdsa.PrivateKey) {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return r, e
}

// TestExternalIssuer: tokens of a configured issuer let in the owner of the account that was made for their subject, under the role
// of that account, and nobody else, whatever is forged.
func TestExternalIssuer(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	rsaKey, ecKey := newKeys(t)
	otherRSA, _ := newKeys(t)
	p.add("r1", rsaKey)
	p.add("e1", ecKey)
	w := newWorld(t, func(c *auth.Config) {
		c.Issuers = []auth.Issuer{{Issuer: p.URL, Provider: "corp", Audience: []string{"other", "kalam"}}}
	})
	w.addOAuth("ann", `{"provider":"corp","subject":"ann-at-provider"}`, session.RoleService)
	w.addOAuth("twin1", `{"provider":"corp","subject":"twin"}`, session.RoleUser)
	w.addOAuth("twin2", `{"provider":"corp","subject":"twin"}`, session.RoleUser)
	w.addOAuth("elsewhere", `{"provider":"other","subject":"elsewhere"}`, session.RoleDBA)
	w.addUser("bob", alicePassword, session.RoleDBA)
	exp := w.clock.Now().Add(time.Hour).Unix()
	good := jwt.MapClaims{"exp": exp}

	for _, token := range []string{
		p.token(jwt.SigningMethodRS256, "r1", rsaKey, good),
		p.token(jwt.SigningMethodPS256, "r1", rsaKey, good),
		p.token(jwt.SigningMethodES256, "e1", ecKey, good),
	} {
		identity, err := w.Authenticate(t.Context(), token)
		if err != nil || identity.User.ID != "ann" || identity.User.Role != session.RoleService || identity.Expires.Unix() != exp {
			t.Fatalf("a good token: %+v %v", identity, err)
		}
		if _, err = w.Refresh(t.Context(), token); err == nil {
			t.Fatal("a token of an external issuer was refreshed")
		}
	}
	if p.fetched() != 1 {
		t.Errorf("the keys were fetched %d times for three tokens", p.fetched())
	}

	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: mustPublic(t, rsaKey.Public())})
	for name, token := range map[string]string{
		"signed by another":     p.token(jwt.SigningMethodRS256, "r1", otherRSA, good),
		"another's key id":      p.token(jwt.SigningMethodRS256, "e1", rsaKey, good),
		"a key for another use": p.token(jwt.SigningMethodHS256, "symmetric", []byte("secret"), good),
		"HMAC by public key":    p.token(jwt.SigningMethodHS256, "r1", public, good),
		"no signature":          p.token(jwt.SigningMethodNone, "r1", jwt.UnsafeAllowNoneSignatureType, good),
		"another audience":      p.token(jwt.SigningMethodRS256, "r1", rsaKey, jwt.MapClaims{"exp": exp, "aud": "shop"}),
		"no audience":           p.token(jwt.SigningMethodRS256, "r1", rsaKey, jwt.MapClaims{"exp": exp, "aud": nil}),
		"no end":                p.token(jwt.SigningMethodRS256, "r1", rsaKey, nil),
		"another issuer":        p.token(jwt.SigningMethodRS256, "r1", rsaKey, jwt.MapClaims{"exp": exp, "iss": "https://other.example"}),
		"our own issuer":        p.token(jwt.SigningMethodRS256, "r1", rsaKey, jwt.MapClaims{"exp": exp, "iss": "kalamdb", "sub": "bob", "role": "dba", "token_type": "access"}),
		"not valid yet":         p.token(jwt.SigningMethodRS256, "r1", rsaKey, jwt.MapClaims{"exp": exp, "nbf": exp}),
		"no subject":            p.token(jwt.SigningMethodRS256, "r1", rsaKey, jwt.MapClaims{"exp": exp, "sub": nil}),
		"an unknown subject":    p.token(jwt.SigningMethodRS256, "r1", rsaKey, jwt.MapClaims{"exp": exp, "sub": "nobody"}),
		"an account's name":     p.token(jwt.SigningMethodRS256, "r1", rsaKey, jwt.MapClaims{"exp": exp, "sub": "bob"}),
		"two accounts":          p.token(jwt.SigningMethodRS256, "r1", rsaKey, jwt.MapClaims{"exp": exp, "sub": "twin"}),
		"another provider":      p.token(jwt.SigningMethodRS256, "r1", rsaKey, jwt.MapClaims{"exp": exp, "sub": "elsewhere"}),
	} {
		if identity, err := w.Authenticate(t.Context(), token); err == nil {
			t.Errorf("%s: let in as %s", name, identity.User.ID)
		} else if reason, ok := auth.ReasonOf(err); !ok || reason != auth.InvalidCredentials {
			t.Errorf("%s: %v", name, err)
		}
	}

	remembered := p.token(jwt.SigningMethodRS256, "r1", rsaKey, good)
	if _, err := w.Authenticate(t.Context(), remembered); err != nil {
		t.Fatal(err)
	}
	w.run(&commandv1.Command{Body: &commandv1.Command_DropUser{DropUser: &commandv1.DropUser{Id: "ann"}}})
	_, err := w.Authenticate(t.Context(), remembered)
	wantReason(t, err, auth.InvalidCredentials)
}

func mustPublic(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()
	encoded, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// TestKeysOfAnIssuerChange: a new key is fetched when a token names it, unknown keys are asked for ever more rarely, keys outlive an
// issuer that is down for a while, and without any the answer is that the server is unavailable, not that the token is bad.
func TestKeysOfAnIssuerChange(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	first, _ := newKeys(t)
	second, _ := newKeys(t)
	p.add("r1", first)
	w := newWorld(t, func(c *auth.Config) {
		c.Issuers = []auth.Issuer{{Issuer: p.URL, Audience: []string{"kalam"}, RoleClaim: "groups"}}
		c.CachedTokens = 1
	})
	w.addOAuth("ann", fmt.Sprintf(`{"provider":%q,"subject":"ann-at-provider"}`, p.URL), session.RoleUser)
	serial := 0
	try := func(id string, key *rsa.PrivateKey, groups ...string) error {
		serial++
		_, err := w.Authenticate(t.Context(), p.token(jwt.SigningMethodRS256, id, key, jwt.MapClaims{
			"exp": w.clock.Now().Add(48 * time.Hour).Unix(), "groups": groups, "jti": strconv.Itoa(serial),
		}))
		return err
	}
	p.breakDown(true)
	if err := try("r1", first, "user"); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("without keys: %v", err)
	}
	p.breakDown(false)
	if err := try("r1", first, "user"); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("a moment later: %v", err)
	}
	w.clock.Advance(time.Minute)
	if err := try("r1", first, "staff", "user"); err != nil {
		t.Fatal(err)
	}
	wantReason(t, try("r1", first, "dba"), auth.InvalidCredentials) // not the role of the account

	p.add("r2", second)
	w.clock.Advance(time.Minute)
	if err := try("r2", second, "user"); err != nil {
		t.Fatalf("a new key: %v", err)
	}
	before := p.fetched()
	for i := range 200 {
		wantReason(t, try(fmt.Sprint("made-up-", i), second, "user"), auth.InvalidCredentials)
		w.clock.Advance(time.Second)
	}
	if asked := p.fetched() - before; asked == 0 || asked > 6 {
		t.Errorf("made-up keys made the server ask %d times in 200 s", asked)
	}

	p.breakDown(true)
	w.clock.Advance(2 * time.Hour)
	if err := try("r1", first, "user"); err != nil {
		t.Errorf("keys that are two hours old, and the issuer down: %v", err)
	}
	w.clock.Advance(24 * time.Hour)
	if err := try("r1", first, "user"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("keys that are a day old, and the issuer down: %v", err)
	}
}

// TestIssuerWithKeysInAFile: no network is needed, and what is configured wrongly is refused at the start.
func TestIssuerWithKeysInAFile(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	key, _ := newKeys(t)
	p.add("r1", key)
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys.json")
	encoded, err := json.Marshal(p.set())
	if err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(keys, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "issuers.json")
	if err = os.WriteFile(list, fmt.Appendf(nil, `[{"issuer":%q,"provider":"corp","audience":["kalam"],"jwks_file":%q}]`, p.URL, keys), 0o600); err != nil {
		t.Fatal(err)
	}
	issuers, err := auth.LoadIssuers(list)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *auth.Config) { c.Issuers = issuers })
	w.addOAuth("ann", `{"provider":"corp","subject":"ann-at-provider"}`, session.RoleUser)
	if _, err = w.Authenticate(t.Context(), p.token(jwt.SigningMethodRS256, "r1", key, jwt.MapClaims{"exp": w.clock.Now().Add(time.Hour).Unix()})); err != nil {
		t.Error(err)
	}
	_, err = w.Authenticate(t.Context(), p.token(jwt.SigningMethodRS256, "r1", key, jwt.MapClaims{"exp": w.clock.Now().Add(-time.Hour).Unix()}))
	wantReason(t, err, auth.TokenExpired)
	if p.fetched() != 0 {
		t.Errorf("keys were fetched %d times", p.fetched())
	}

	weak := filepath.Join(dir, "weak.json")
	if err = os.WriteFile(weak, []byte(`{"keys":[{"kty":"RSA","kid":"w","n":"3q2-7w","e":"AQAB"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, wrong := range map[string]auth.Issuer{
		"audience is required":   {Issuer: "https://a.example"},
		"https only":             {Issuer: "http://a.example", Audience: []string{"kalam"}},
		"either jwks_url or":     {Issuer: "https://a.example", Audience: []string{"kalam"}, JWKSURL: "https://a.example", JWKSFile: keys},
		"an external issuer's":   {Issuer: "kalamdb", Audience: []string{"kalam"}},
		"an RSA key of 32 bits":  {Issuer: "https://a.example", Audience: []string{"kalam"}, JWKSFile: weak},
		"no such file or":        {Issuer: "https://a.example", Audience: []string{"kalam"}, JWKSFile: filepath.Join(dir, "none")},
		"without a key that cou": {Issuer: "https://a.example", Audience: []string{"kalam"}, JWKSFile: emptySet(t, dir)},
	} {
		_, err = auth.New(auth.Config{
			Catalog: w.node.Catalog, Executor: w.node.Executor, Clock: w.clock, Secret: auth.FixedSecret(testSecret), BcryptCost: 4,
			Issuers: []auth.Issuer{wrong},
		})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err = os.WriteFile(list, []byte(`[{"issuer":"https://a.example","audience":["k"],"jwks":"typo"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = auth.LoadIssuers(list); err == nil || !strings.Contains(err.Error(), "jwks") {
		t.Errorf("an unknown key: %v", err)
	}
}

func emptySet(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "empty.json")
	if err := os.WriteFile(path, []byte(`{"keys":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
