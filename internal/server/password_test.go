package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestChangedPasswordEndsTokensOverHTTP: whoever signed in under the old password is out, on every way that takes tokens, and the
// owner of the new one is in. Others, and what changes beside passwords, are left alone.
func TestChangedPasswordEndsTokensOverHTTP(t *testing.T) {
	t.Parallel()
	n, root, ann := systemNode(t)
	signIn := func(password string) (access, refresh client) {
		t.Helper()
		status, body := ann.post("/v1/api/auth/login", map[string]any{"user": "ann", "password": password})
		var grant struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
		if err := json.Unmarshal(body, &grant); err != nil || status != http.StatusOK {
			t.Fatalf("login: %d %s %v", status, body, err)
		}
		access, refresh = client{t, ann.url, grant.Access}, client{t, ann.url, grant.Refresh}
		return access, refresh
	}
	access, refresh := signIn("Secret-of-ann-1")
	root.sql("ALTER USER ann SET EMAIL 'ann@example.com'")
	access.sql("SELECT 1")
	for _, password := range []string{"Secret-of-ann-2", "Secret-of-ann-2"} { // set again, it is another one
		root.sql("ALTER USER ann SET PASSWORD '" + password + "'")
		status, a := access.ask("SELECT 1")
		if status != http.StatusUnauthorized || a.Error == nil || a.Error.Code != "INVALID_CREDENTIALS" {
			t.Errorf("a token of the old password: %d %+v", status, a.Error)
		}
		if status, body := refresh.post("/v1/api/auth/refresh", nil); status != http.StatusUnauthorized {
			t.Errorf("a refresh token of the old password: %d %s", status, body)
		}
		if status, _, body, err := access.get("/v1/api/auth/me"); err != nil || status != http.StatusUnauthorized {
			t.Errorf("me with a token of the old password: %d %s %v", status, body, err)
		}
		root.sql("SELECT 1")
		access, refresh = signIn(password)
		access.sql("SELECT 1")
		if status, body := refresh.post("/v1/api/auth/refresh", nil); status != http.StatusOK || !strings.Contains(string(body), "access_token") {
			t.Errorf("refresh under the new password: %d %s", status, body)
		}
	}
	login(t, n, "ann", "Secret-of-ann-2").sql("SELECT 1")
}
