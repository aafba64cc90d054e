package auth_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// goodClaims are those of an access token of alice.
func goodClaims(w *world) jwt.MapClaims {
	now := w.clock.Now().Unix()
	return jwt.MapClaims{
		"sub": "alice", "iss": "kalamdb", "iat": now, "exp": now + 3600, "role": "user", "token_type": "access",
	}
}

func signed(t *testing.T, method jwt.SigningMethod, claims jwt.MapClaims, key any) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestForgedTokensAreRefused covers forged roles and every other way to make a token that was not issued.
func TestForgedTokensAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.addUser("alice", alicePassword, session.RoleUser)
	key := []byte(testSecret)
	with := func(name string, value any) string {
		claims := goodClaims(w)
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
		return signed(t, jwt.SigningMethodHS256, claims, key)
	}
	good := signed(t, jwt.SigningMethodHS256, goodClaims(w), key)
	parts := strings.Split(good, ".")
	otherPayload := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil,
		`{"sub":"alice","iss":"kalamdb","iat":1,"exp":%d,"role":"system","token_type":"access"}`, w.clock.Now().Unix()+3600))
	now := w.clock.Now().Unix()
	tokens := map[string]string{
		"algorithm none":           signed(t, jwt.SigningMethodNone, goodClaims(w), jwt.UnsafeAllowNoneSignatureType),
		"algorithm HS384":          signed(t, jwt.SigningMethodHS384, goodClaims(w), key),
		"algorithm HS512":          signed(t, jwt.SigningMethodHS512, goodClaims(w), key),
		"other key":                signed(t, jwt.SigningMethodHS256, goodClaims(w), []byte("another key of enough characters 123")),
		"empty key":                signed(t, jwt.SigningMethodHS256, goodClaims(w), []byte("")),
		"payload exchanged":        parts[0] + "." + otherPayload + "." + parts[2],
		"signature cut off":        parts[0] + "." + parts[1] + ".",
		"two parts":                parts[0] + "." + parts[1],
		"trailing bits":            good + "A",
		"words":                    "not a token",
		"too long":                 good + strings.Repeat("A", 10_000),
		"other issuer":             with("iss", "https://accounts.example.com"),
		"no issuer":                with("iss", nil),
		"forged role":              with("role", "system"),
		"role of another case":     with("role", "User"),
		"no role":                  with("role", nil),
		"no subject":               with("sub", nil),
		"unknown subject":          with("sub", "nobody"),
		"no expiry":                with("exp", nil),
		"expiry as text":           with("exp", "tomorrow"),
		"issued in the future":     with("iat", now+600),
		"no type":                  with("token_type", nil),
		"refresh used as access":   with("token_type", "refresh"),
		"type of another kind":     with("token_type", "ACCESS"),
		"not before in the future": with("nbf", now+600),
	}
	for name, token := range tokens {
		_, err := w.Authenticate(t.Context(), token)
		if reason, _ := auth.ReasonOf(err); reason != auth.InvalidCredentials {
			t.Errorf("%s: err = %v, want a refusal", name, err)
		}
	}
	if _, err := w.Authenticate(t.Context(), good); err != nil {
		t.Errorf("the genuine token is refused: %v", err)
	}
	_, err := w.Authenticate(t.Context(), "")
	wantReason(t, err, auth.MissingAuthorization)
	_, err = w.Refresh(t.Context(), good)
	wantReason(t, err, auth.InvalidCredentials)
}

func TestExpiryWithLeeway(t *testing.T) {
	t.Parallel()
	for _, cached := range []bool{false, true} {
		w := newWorld(t, nil)
		w.addUser("alice", alicePassword, session.RoleUser)
		grant := w.login("alice", alicePassword)
		if want := w.clock.Now().Add(24 * time.Hour); !grant.AccessExpires.Equal(want) {
			t.Fatalf("expires = %v, want %v", grant.AccessExpires, want)
		}
		if want := w.clock.Now().Add(7 * 24 * time.Hour); !grant.RefreshExpires.Equal(want) {
			t.Fatalf("refresh expires = %v, want %v", grant.RefreshExpires, want)
		}
		check := func() error {
			_, err := w.Authenticate(t.Context(), grant.AccessToken)
			return err
		}
		if cached {
			if err := check(); err != nil {
				t.Fatal(err)
			}
		}
		w.clock.Advance(24*time.Hour + 59*time.Second)
		if cached {
			if err := check(); err != nil {
				t.Fatalf("within the leeway: %v", err)
			}
		}
		w.clock.Advance(time.Second)
		wantReason(t, check(), auth.TokenExpired)
		// A refresh token lives longer and brings a new access token.
		renewed, err := w.Refresh(t.Context(), grant.RefreshToken)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = w.Authenticate(t.Context(), renewed.AccessToken); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(7 * 24 * time.Hour)
		_, err = w.Refresh(t.Context(), grant.RefreshToken)
		wantReason(t, err, auth.TokenExpired)
	}
}

// TestExpiredForgeryIsNotCalledExpired keeps clients from renewing on a token that never was good.
func TestExpiredForgeryIsNotCalledExpired(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.addUser("alice", alicePassword, session.RoleUser)
	claims := goodClaims(w)
	claims["exp"] = w.clock.Now().Unix() - 3600
	_, err := w.Authenticate(t.Context(), signed(t, jwt.SigningMethodHS256, claims, []byte("another key of enough characters 123")))
	wantReason(t, err, auth.InvalidCredentials)
	claims["iss"] = "elsewhere"
	_, err = w.Authenticate(t.Context(), signed(t, jwt.SigningMethodHS256, claims, []byte(testSecret)))
	wantReason(t, err, auth.InvalidCredentials)
}

func TestRoleChangeAndDropEndTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.addUser("alice", alicePassword, session.RoleDBA)
	grant := w.login("alice", alicePassword)
	identity, err := w.Authenticate(t.Context(), grant.AccessToken)
	if err != nil || identity.User.Role != session.RoleDBA || identity.User.Email != "alice@example.com" {
		t.Fatalf("identity = %+v, err = %v", identity, err)
	}
	role := uint32(session.RoleUser)
	w.run(&commandv1.Command{Body: &commandv1.Command_AlterUser{AlterUser: &commandv1.AlterUser{Id: "alice", Role: &role}}})
	_, err = w.Authenticate(t.Context(), grant.AccessToken)
	wantReason(t, err, auth.InvalidCredentials)
	_, err = w.Refresh(t.Context(), grant.RefreshToken)
	wantReason(t, err, auth.InvalidCredentials)

	grant = w.login("alice", alicePassword)
	if _, err = w.Authenticate(t.Context(), grant.AccessToken); err != nil {
		t.Fatal(err)
	}
	w.run(&commandv1.Command{Body: &commandv1.Command_DropUser{DropUser: &commandv1.DropUser{Id: "alice"}}})
	_, err = w.Authenticate(t.Context(), grant.AccessToken)
	wantReason(t, err, auth.InvalidCredentials)
	_, err = w.Refresh(t.Context(), grant.RefreshToken)
	wantReason(t, err, auth.InvalidCredentials)
}

// TestUnknownAccountIsLookedUpAgain: a node that lags behind must not call a good token bad.
func TestUnknownAccountIsLookedUpAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := signed(t, jwt.SigningMethodHS256, goodClaims(w), []byte(testSecret))
	w.node.FailWith(errors.New("cut off"))
	_, err := w.Authenticate(t.Context(), token)
	if fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("err = %v, want unavailable", err)
	}
	w.node.FailWith(nil)
	_, err = w.Authenticate(t.Context(), token)
	wantReason(t, err, auth.InvalidCredentials)
	w.addUser("alice", alicePassword, session.RoleUser)
	if _, err = w.Authenticate(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	// A known account needs nobody else.
	w.node.FailWith(errors.New("cut off"))
	if _, err = w.Authenticate(t.Context(), token); err != nil {
		t.Fatal(err)
	}
}

func TestChangedKeyEndsTokens(t *testing.T) {
	t.Parallel()
	key, failure := []byte(testSecret), error(nil)
	w := newWorld(t, func(c *auth.Config) { c.Secret = func() ([]byte, error) { return key, failure } })
	w.addUser("alice", alicePassword, session.RoleUser)
	first := w.login("alice", alicePassword).AccessToken
	if _, err := w.Authenticate(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	key = []byte("the next key, of enough characters 9876")
	_, err := w.Authenticate(t.Context(), first)
	wantReason(t, err, auth.InvalidCredentials)
	if _, err := w.Authenticate(t.Context(), w.login("alice", alicePassword).AccessToken); err != nil {
		t.Fatal(err)
	}
	failure = errors.New("no key")
	if _, err := w.Authenticate(t.Context(), first); !errors.Is(err, failure) {
		t.Errorf("without a key: %v", err)
	}
	if _, err := w.Login(t.Context(), "alice", alicePassword); !errors.Is(err, failure) {
		t.Errorf("login without a key: %v", err)
	}
}

func FuzzAuthenticate(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	w := newWorld(f, nil)
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := w.Authenticate(t.Context(), token); err == nil {
			t.Fatalf("token %q was accepted", token)
		}
	})
}

// TestChangedPasswordEndsTokens: what was given under another password is refused, by a node that has verified it before too, and nothing else.
func TestChangedPasswordEndsTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.addUser("alice", alicePassword, session.RoleUser)
	w.addUser("bob", alicePassword, session.RoleUser)
	bob := w.login("bob", alicePassword)
	old := w.login("alice", alicePassword)
	older := goodClaims(w) // as versions without marks sign them
	older["iat"] = w.clock.Now().Unix()
	unmarked := signed(t, jwt.SigningMethodHS256, older, []byte(testSecret))
	email := "elsewhere@example.com"
	for _, token := range []string{old.AccessToken, unmarked, bob.AccessToken} {
		if _, err := w.Authenticate(t.Context(), token); err != nil {
			t.Fatalf("before: %v", err)
		}
	}
	w.run(&commandv1.Command{Body: &commandv1.Command_AlterUser{AlterUser: &commandv1.AlterUser{Id: "alice", Email: &email}}})
	if _, err := w.Authenticate(t.Context(), old.AccessToken); err != nil {
		t.Errorf("another address ends tokens: %v", err)
	}
	w.clock.Advance(2 * time.Second)
	hash, err := w.Hash(t.Context(), alicePassword) // even the same password
	if err != nil {
		t.Fatal(err)
	}
	w.run(&commandv1.Command{Body: &commandv1.Command_AlterUser{AlterUser: &commandv1.AlterUser{Id: "alice", PasswordHash: &hash}}})
	for _, token := range []string{old.AccessToken, unmarked} {
		_, err = w.Authenticate(t.Context(), token)
		wantReason(t, err, auth.InvalidCredentials)
	}
	_, err = w.Refresh(t.Context(), old.RefreshToken)
	wantReason(t, err, auth.InvalidCredentials)
	if _, err = w.Authenticate(t.Context(), bob.AccessToken); err != nil {
		t.Errorf("another account's token: %v", err)
	}
	grant := w.login("alice", alicePassword)
	if grant, err = w.Refresh(t.Context(), grant.RefreshToken); err != nil {
		t.Fatalf("refresh under the new password: %v", err)
	}
	for range 2 {
		if _, err = w.Authenticate(t.Context(), grant.AccessToken); err != nil {
			t.Errorf("a token of the new password: %v", err)
		}
	}
}
