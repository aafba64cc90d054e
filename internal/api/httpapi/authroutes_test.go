package httpapi_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

func TestLoginRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.RateLimit.MaxAuthRequestsPerIP = 0 })
	w.addUser("alice", session.RoleUser)
	for _, test := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"wrong password", `{"user":"alice","password":"wrong"}`, 401, "unauthorized"},
		{"unknown user", `{"user":"nobody","password":"wrong"}`, 401, "unauthorized"},
		{"path as user", `{"user":"../x","password":"wrong"}`, 401, "unauthorized"},
		{"no password", `{"user":"alice"}`, 400, "invalid_request"},
		{"no user", `{"password":"wrong"}`, 400, "invalid_request"},
		{"user twice", `{"user":"alice","username":"alice","password":"wrong"}`, 400, "invalid_request"},
		{"unknown key", `{"user":"alice","password":"wrong","admin":true}`, 400, "invalid_request"},
		{"key in other case", `{"USER":"alice","password":"wrong"}`, 400, "invalid_request"},
		{"key twice", `{"user":"alice","user":"root","password":"wrong"}`, 400, "invalid_request"},
		{"no JSON", `user=alice`, 400, "invalid_request"},
		{"two values", `{"user":"alice","password":"wrong"}{}`, 400, "invalid_request"},
		{"no UTF-8", "{\"user\":\"\xff\",\"password\":\"wrong\"}", 400, "invalid_request"},
		{"long user", `{"user":"` + strings.Repeat("u", 129) + `","password":"wrong"}`, 400, "invalid_request"},
		{"long password", `{"user":"alice","password":"` + strings.Repeat("p", 257) + `"}`, 400, "invalid_request"},
		{"large body", `{"user":"` + strings.Repeat("u", 20_000) + `"}`, 413, "PAYLOAD_TOO_LARGE"},
	} {
		answer := w.post("/v1/api/auth/login", test.body, nil)
		if got := readPlain(t, answer); got.status != test.status || got.code != test.code {
			t.Errorf("%s: %+v, want %d %s", test.name, got, test.status, test.code)
		}
		if len(answer.Result().Cookies()) != 0 {
			t.Errorf("%s: cookies are set", test.name)
		}
	}
	wrong := w.post("/v1/api/auth/login", `{"user":"alice","password":"wrong"}`, nil).Body.String()
	unknown := w.post("/v1/api/auth/login", `{"user":"nobody","password":"wrong"}`, nil).Body.String()
	if wrong != unknown || !strings.Contains(wrong, "Invalid credentials") {
		t.Errorf("wrong password answers %s, unknown user %s", wrong, unknown)
	}
}

func TestLockedAccountOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.addUser("alice", session.RoleUser)
	for range 5 {
		w.post("/v1/api/auth/login", `{"user":"alice","password":"wrong"}`, nil)
	}
	answer := w.post("/v1/api/auth/login", `{"user":"alice","password":"`+password+`"}`, nil)
	if got := readPlain(t, answer); got.status != http.StatusUnauthorized || got.code != "account_locked" {
		t.Errorf("got %+v", got)
	}
	w.clock.Advance(15 * time.Minute)
	w.token("alice")
}

func TestLoginWithoutQuorum(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.addUser("alice", session.RoleUser)
	w.node.FailWith(errors.New("cut off"))
	answer := w.post("/v1/api/auth/login", `{"user":"alice","password":"`+password+`"}`, nil)
	if got := readPlain(t, answer); got.status != http.StatusServiceUnavailable || got.code != "unavailable" ||
		answer.Header().Get("Retry-After") == "" {
		t.Errorf("got %+v", got)
	}
}

func TestSignInRateOfOneAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.RateLimit.MaxAuthRequestsPerIP = 2 })
	attempt := func(path, address string) *httptest.ResponseRecorder {
		return w.post(path, `{"user":"nobody","password":"wrong"}`, from(address))
	}
	for range 2 {
		if answer := attempt("/v1/api/auth/login", "203.0.113.7:1"); answer.Code != http.StatusUnauthorized {
			t.Fatalf("%d %s", answer.Code, answer.Body)
		}
	}
	for _, path := range []string{"/v1/api/auth/login", "/v1/api/auth/refresh", "/v1/api/auth/setup"} {
		// Another port of the same address counts as the same caller.
		answer := attempt(path, "203.0.113.7:2")
		if got := readPlain(t, answer); got.status != http.StatusTooManyRequests || got.code != "rate_limited" ||
			answer.Header().Get("Retry-After") != "1" {
			t.Errorf("%s: %+v", path, got)
		}
	}
	if answer := attempt("/v1/api/auth/login", "203.0.113.8:1"); answer.Code != http.StatusUnauthorized {
		t.Errorf("another address: %d", answer.Code)
	}
	w.clock.Advance(500 * time.Millisecond)
	if answer := attempt("/v1/api/auth/login", "203.0.113.7:1"); answer.Code != http.StatusUnauthorized {
		t.Errorf("after the wait: %d", answer.Code)
	}
	// Neighbours in one IPv6 subscriber network count together; forged headers change nothing.
	for i, address := range []string{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1"} {
		answer := w.post("/v1/api/auth/login", `{"user":"nobody","password":"wrong"}`, func(r *http.Request) {
			r.RemoteAddr = address
			r.Header.Set("X-Forwarded-For", "198.51.100."+string(rune('1'+i)))
		})
		want := http.StatusUnauthorized
		if i == 2 {
			want = http.StatusTooManyRequests
		}
		if answer.Code != want {
			t.Errorf("%s: %d, want %d", address, answer.Code, want)
		}
	}
}

// session is the answer of a login.
type sessionBody struct {
	User             map[string]any `json:"user"`
	AdminUIAccess    *bool          `json:"admin_ui_access"`
	ExpiresAt        string         `json:"expires_at"`
	AccessToken      string         `json:"access_token"`
	RefreshToken     string         `json:"refresh_token"`
	RefreshExpiresAt string         `json:"refresh_expires_at"`
}

func readSession(t *testing.T, answer *httptest.ResponseRecorder) sessionBody {
	t.Helper()
	var body sessionBody
	decoder := json.NewDecoder(strings.NewReader(answer.Body.String()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil || answer.Code != http.StatusOK || body.AdminUIAccess == nil {
		t.Fatalf("answer %d %s: %v", answer.Code, answer.Body, err)
	}
	return body
}

func TestLoginAnswerAndCookies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.addUser("boss", session.RoleDBA)
	answer := w.post("/v1/api/auth/login", `{"username":"boss","password":"`+password+`"}`, nil)
	got := readSession(t, answer)
	want := map[string]any{
		"id": "boss", "role": "dba", "email": nil, "created_at": "2026-05-01T12:00:00Z", "updated_at": "2026-05-01T12:00:00Z",
	}
	if diff := cmp.Diff(want, got.User); diff != "" {
		t.Error(diff)
	}
	if !*got.AdminUIAccess || got.ExpiresAt != "2026-05-02T12:00:00Z" || got.RefreshExpiresAt != "2026-05-08T12:00:00Z" {
		t.Errorf("answer = %+v", got)
	}
	cookies := answer.Result().Cookies()
	if len(cookies) != 2 || cookies[0].Name != "kalamdb_auth" || cookies[1].Name != "kalamdb_refresh" ||
		cookies[0].Value != got.AccessToken || cookies[1].Value != got.RefreshToken {
		t.Fatalf("cookies = %v", cookies)
	}
	for _, cookie := range cookies {
		if cookie.Path != "/" || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Secure {
			t.Errorf("cookie = %v", cookie)
		}
	}
	if cookies[0].MaxAge != 24*3600 || answer.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("max age = %d, cache control = %q", cookies[0].MaxAge, answer.Header().Get("Cache-Control"))
	}
}

func TestCookiesAreSecureOverHTTPS(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name         string
		secure       bool
		peer, scheme string
		want         bool
	}{
		{"https through a proxy on this machine", true, local, "https", true},
		{"http through a proxy on this machine", true, local, "http", false},
		{"a peer that claims https", true, remote, "https", false},
		{"turned off", false, local, "https", false},
	} {
		w := newWorld(t, func(c *config.Config) { c.Auth.CookieSecure = test.secure })
		w.addUser("alice", session.RoleUser)
		answer := w.post("/v1/api/auth/login", `{"user":"alice","password":"`+password+`"}`, func(r *http.Request) {
			r.RemoteAddr = test.peer
			r.Header.Set("X-Forwarded-Proto", test.scheme)
		})
		for _, cookie := range answer.Result().Cookies() {
			if cookie.Secure != test.want {
				t.Errorf("%s: secure = %v", test.name, cookie.Secure)
			}
		}
	}
}

func TestMeRefreshLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.addUser("alice", session.RoleUser)
	login := readSession(t, w.post("/v1/api/auth/login", `{"user":"alice","password":"`+password+`"}`, nil))
	cookie := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: name, Value: value}) }
	}
	for name, change := range map[string]func(*http.Request){
		"header": withToken(login.AccessToken), "cookie": cookie("kalamdb_auth", login.AccessToken),
	} {
		answer := w.get("/v1/api/auth/me", change)
		if answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), `"id":"alice"`) ||
			!strings.Contains(answer.Body.String(), `"admin_ui_access":false`) {
			t.Errorf("me by %s: %d %s", name, answer.Code, answer.Body)
		}
	}
	for name, change := range map[string]func(*http.Request){
		"nothing": nil, "refresh token": withToken(login.RefreshToken), "wrong cookie": cookie("kalamdb_refresh", login.AccessToken),
	} {
		if got := readPlain(t, w.get("/v1/api/auth/me", change)); got.status != http.StatusUnauthorized || got.code != "unauthorized" {
			t.Errorf("me by %s: %+v", name, got)
		}
	}
	w.clock.Advance(time.Minute)
	for name, change := range map[string]func(*http.Request){
		"header": withToken(login.RefreshToken), "cookie": cookie("kalamdb_refresh", login.RefreshToken),
		"cookie before header": func(r *http.Request) {
			cookie("kalamdb_refresh", login.RefreshToken)(r)
			withToken("garbage")(r)
		},
	} {
		answer := w.post("/v1/api/auth/refresh", "", change)
		if got := readSession(t, answer); got.ExpiresAt != "2026-05-02T12:01:00Z" || len(answer.Result().Cookies()) != 2 {
			t.Errorf("refresh by %s: %+v, cookies %v", name, got, answer.Result().Cookies())
		}
	}
	for name, change := range map[string]func(*http.Request){
		"nothing": nil, "access token": withToken(login.AccessToken), "access cookie": cookie("kalamdb_auth", login.AccessToken),
	} {
		if got := readPlain(t, w.post("/v1/api/auth/refresh", "", change)); got.status != http.StatusUnauthorized || got.code != "unauthorized" {
			t.Errorf("refresh by %s: %+v", name, got)
		}
	}
	answer := w.post("/v1/api/auth/logout", "", nil)
	if answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), `"message"`) {
		t.Errorf("logout: %d %s", answer.Code, answer.Body)
	}
	for _, cookie := range answer.Result().Cookies() {
		if cookie.MaxAge >= 0 || cookie.Value != "" {
			t.Errorf("logout leaves %v", cookie)
		}
	}
	if got := w.get("/v1/api/auth/me", withToken(login.AccessToken)); got.Code != http.StatusOK {
		t.Errorf("a logout without a token ends a token: %d %s", got.Code, got.Body)
	}
}

// TestLogoutEndsTheTokensOfItsLogin: whatever a request to log out shows, the tokens that came of that login are refused from then on, and
// those of another login are not.
func TestLogoutEndsTheTokensOfItsLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.RateLimit.MaxAuthRequestsPerIP = 0 })
	w.addUser("alice", session.RoleUser)
	login := func() sessionBody {
		return readSession(t, w.post("/v1/api/auth/login", `{"user":"alice","password":"`+password+`"}`, nil))
	}
	cookie := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: name, Value: value}) }
	}
	other := login()
	for name, show := range map[string]func(sessionBody) func(*http.Request){
		"refresh cookie": func(s sessionBody) func(*http.Request) { return cookie("kalamdb_refresh", s.RefreshToken) },
		"access cookie":  func(s sessionBody) func(*http.Request) { return cookie("kalamdb_auth", s.AccessToken) },
		"refresh token":  func(s sessionBody) func(*http.Request) { return withToken(s.RefreshToken) },
		"access token":   func(s sessionBody) func(*http.Request) { return withToken(s.AccessToken) },
		"a token beside garbage": func(s sessionBody) func(*http.Request) {
			return func(r *http.Request) {
				cookie("kalamdb_refresh", "garbage")(r)
				cookie("kalamdb_auth", other.AccessToken+"x")(r)
				withToken(s.AccessToken)(r)
			}
		},
	} {
		for _, rotated := range []bool{false, true} {
			ours := login()
			last := ours
			if rotated {
				last = readSession(t, w.post("/v1/api/auth/refresh", "", withToken(ours.RefreshToken)))
			}
			if got := w.post("/v1/api/auth/logout", "", show(last)); got.Code != http.StatusOK {
				t.Fatalf("logout by %s: %d %s", name, got.Code, got.Body)
			}
			for _, s := range []sessionBody{ours, last} {
				if got := readPlain(t, w.post("/v1/api/auth/refresh", "", withToken(s.RefreshToken))); got.status != http.StatusUnauthorized {
					t.Errorf("refresh after logout by %s (rotated %v): %+v", name, rotated, got)
				}
				if got := readPlain(t, w.get("/v1/api/auth/me", withToken(s.AccessToken))); got.status != http.StatusUnauthorized {
					t.Errorf("access after logout by %s (rotated %v): %+v", name, rotated, got)
				}
			}
			if got := w.post("/v1/api/auth/logout", "", show(last)); got.Code != http.StatusOK {
				t.Errorf("logout again by %s: %d %s", name, got.Code, got.Body)
			}
		}
	}
	if got := w.post("/v1/api/auth/refresh", "", withToken(other.RefreshToken)); got.Code != http.StatusOK {
		t.Errorf("another login: %d %s", got.Code, got.Body)
	}
}

func TestSetupOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.RateLimit.MaxAuthRequestsPerIP = 0 })
	if err := w.auth.EnsureRoot(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	setup := func(user, userPassword, rootPassword string) string {
		return `{"user":"` + user + `","password":"` + userPassword + `","root_password":"` + rootPassword + `","email":"b@example.com"}`
	}
	if answer := w.get("/v1/api/auth/status", nil); answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), `"needs_setup":true`) {
		t.Errorf("status: %d %s", answer.Code, answer.Body)
	}
	login := w.post("/v1/api/auth/login", `{"user":"root","password":""}`, nil)
	if got := readPlain(t, login); got.status != http.StatusPreconditionRequired || got.code != "setup_required" {
		t.Errorf("login before setup: %+v", got)
	}
	crossSite := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	otherOrigin := func(r *http.Request) { r.Header.Set("Origin", "https://pages.example") }
	throughProxy := func(r *http.Request) { r.Header.Set("X-Forwarded-For", "198.51.100.9") }
	for _, test := range []struct {
		name   string
		body   string
		change func(*http.Request)
		status int
		code   string
	}{
		{"remote", setup("boss", password, password), from(remote), 403, "forbidden"},
		{"through a proxy", setup("boss", password, password), throughProxy, 403, "forbidden"},
		{"page of another origin", setup("boss", password, password), crossSite, 403, "forbidden"},
		{"old browser, other origin", setup("boss", password, password), otherOrigin, 403, "forbidden"},
		{"weak", setup("boss", "short", password), nil, 400, "weak_password"},
		{"weak root", setup("boss", password, "password123"), nil, 400, "weak_password"},
		{"bad user", setup("a/b", password, password), nil, 400, "invalid_user"},
		{"root", setup("root", password, password), nil, 409, "user_exists"},
		{"unknown key", `{"user":"boss","tokens":1}`, nil, 400, "invalid_request"},
	} {
		if got := readPlain(t, w.post("/v1/api/auth/setup", test.body, test.change)); got.status != test.status || got.code != test.code {
			t.Errorf("%s: %+v, want %d %s", test.name, got, test.status, test.code)
		}
	}
	answer := w.post("/v1/api/auth/setup", setup("boss", password, password), func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	})
	if answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), `"role":"dba"`) ||
		strings.Contains(answer.Body.String(), "token") || len(answer.Result().Cookies()) != 0 {
		t.Fatalf("setup: %d %s", answer.Code, answer.Body)
	}
	if got := readPlain(t, w.post("/v1/api/auth/setup", setup("next", password, password), nil)); got.status != 409 || got.code != "already_configured" {
		t.Errorf("second setup: %+v", got)
	}
	if answer := w.get("/v1/api/auth/status", nil); !strings.Contains(answer.Body.String(), `"needs_setup":false`) {
		t.Errorf("status afterwards: %s", answer.Body)
	}
	if got := readPlain(t, w.get("/v1/api/auth/status", from(remote))); got.status != http.StatusForbidden {
		t.Errorf("status from elsewhere: %+v", got)
	}
	w.token("boss")
	w.token("root")
}

func TestSetupFromAnAllowedOrigin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.Security.CORS.AllowedOrigins = []string{"*", "https://console.example"} })
	body := `{"user":"boss","password":"` + password + `","root_password":"` + password + `"}`
	for _, test := range []struct {
		origin string
		want   int
	}{{"https://pages.example", http.StatusForbidden}, {"https://console.example", http.StatusOK}} {
		answer := w.post("/v1/api/auth/setup", body, func(r *http.Request) { r.Header.Set("Origin", test.origin) })
		if answer.Code != test.want {
			t.Errorf("%s: %d %s, want %d", test.origin, answer.Code, answer.Body, test.want)
		}
	}
}

func TestRemoteSetupWhenAllowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.Auth.AllowRemoteSetup = true })
	body := `{"user":"boss","password":"` + password + `","root_password":"` + password + `"}`
	if answer := w.post("/v1/api/auth/setup", body, from(remote)); answer.Code != http.StatusOK {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}
