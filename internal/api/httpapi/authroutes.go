package httpapi

import (
	"errors"
	"io"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// Cookies that hold the tokens of browsers.
const (
	accessCookie  = "kalamdb_auth"
	refreshCookie = "kalamdb_refresh"
)

// Bounds of a login.
const (
	maxUserBytes     = 128
	maxPasswordBytes = 256
)

// userBody is a user in answers.
type userBody struct {
	ID        string  `json:"id"`
	Role      string  `json:"role"`
	Email     *string `json:"email"`
	CreatedAt string  `json:"created_at"`
	UpdatedAt string  `json:"updated_at"`
}

// grantBody answers a login or refresh.
type grantBody struct {
	User             userBody `json:"user"`
	AdminUIAccess    bool     `json:"admin_ui_access"`
	ExpiresAt        string   `json:"expires_at"`
	AccessToken      string   `json:"access_token"`
	RefreshToken     string   `json:"refresh_token"`
	RefreshExpiresAt string   `json:"refresh_expires_at"`
}

func newUserBody(user auth.User) userBody {
	body := userBody{
		ID: string(user.ID), Role: user.Role.String(),
		CreatedAt: timeText(time.UnixMicro(user.CreatedMicros)), UpdatedAt: timeText(time.UnixMicro(user.UpdatedMicros)),
	}
	if user.Email != "" {
		body.Email = &user.Email
	}
	return body
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// handleLogin exchanges a password for tokens.
func (s *Server) handleLogin(w http.ResponseWriter, r *http.Request) {
	var user, username, password *string // username is an alias of user
	if !s.decodeStrictly(w, r, map[string]any{"user": &user, "username": &username, "password": &password}) {
		return
	}
	name := user
	if name == nil {
		name = username
	}
	switch {
	case name == nil || password == nil || user != nil && username != nil:
		writePlainError(w, http.StatusBadRequest, "invalid_request", `The body needs "user" and "password"`)
		return
	case len(*name) > maxUserBytes || len(*password) > maxPasswordBytes:
		writePlainError(w, http.StatusBadRequest, "invalid_request", "The user or the password is too long")
		return
	}
	grant, err := s.config.Auth.Login(auth.WithAddress(r.Context(), s.clientAddr(r).String()), ident.UserID(*name), *password)
	if err != nil {
		s.writeAuthFailure(w, r, err)
		return
	}
	s.writeGrant(w, r, grant)
}

// handleRefresh exchanges a refresh token for new tokens.
func (s *Server) handleRefresh(w http.ResponseWriter, r *http.Request) {
	grant, err := s.config.Auth.Refresh(r.Context(), tokenOf(r, refreshCookie, true))
	if err != nil {
		s.writeAuthFailure(w, r, err)
		return
	}
	s.writeGrant(w, r, grant)
}

// tokenOf returns the token of the named cookie or of the Authorization header, whichever comes first.
func tokenOf(r *http.Request, cookieName string, cookieFirst bool) string {
	fromCookie := ""
	if cookie, err := r.Cookie(cookieName); err == nil {
		fromCookie = cookie.Value
	}
	fromHeader, _ := bearer(r.Header.Get("Authorization"))
	if cookieFirst && fromCookie != "" || fromHeader == "" {
		return fromCookie
	}
	return fromHeader
}

func (s *Server) writeGrant(w http.ResponseWriter, r *http.Request, grant auth.Grant) {
	s.setCookie(w, r, accessCookie, grant.AccessToken, grant.AccessExpires)
	s.setCookie(w, r, refreshCookie, grant.RefreshToken, grant.RefreshExpires)
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, grantBody{
		User: newUserBody(grant.User), AdminUIAccess: grant.User.Role.IsAdmin(),
		ExpiresAt: timeText(grant.AccessExpires), AccessToken: grant.AccessToken,
		RefreshToken: grant.RefreshToken, RefreshExpiresAt: timeText(grant.RefreshExpires),
	})
}

// setCookie stores a token in a browser; an empty value removes it.
func (s *Server) setCookie(w http.ResponseWriter, r *http.Request, name, value string, expires time.Time) {
	cookie := &http.Cookie{ //nolint:gosec // Secure follows the configuration and the client's scheme
		Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: s.config.Settings.Auth.CookieSecure && s.isHTTPS(r),
	}
	if value == "" {
		cookie.MaxAge = -1
	} else {
		cookie.MaxAge = int(expires.Sub(s.config.Clock.Now()) / time.Second)
	}
	http.SetCookie(w, cookie)
}

// handleLogout removes the cookies and ends all tokens of the logins that the request shows tokens of. The cookies go even when the rest
// fails.
func (s *Server) handleLogout(w http.ResponseWriter, r *http.Request) {
	s.setCookie(w, r, accessCookie, "", time.Time{})
	s.setCookie(w, r, refreshCookie, "", time.Time{})
	shown := []string{tokenOf(r, refreshCookie, true), tokenOf(r, accessCookie, true)}
	fromHeader, _ := bearer(r.Header.Get("Authorization"))
	if err := s.config.Auth.Logout(auth.WithAddress(r.Context(), s.clientAddr(r).String()), append(shown, fromHeader)...); err != nil {
		s.writeAuthFailure(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"message": "Logged out"})
}

// handleMe tells a caller who it is.
func (s *Server) handleMe(w http.ResponseWriter, r *http.Request) {
	identity, err := s.config.Auth.Authenticate(r.Context(), tokenOf(r, accessCookie, false))
	if err != nil {
		s.writeAuthFailure(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, struct {
		User          userBody `json:"user"`
		AdminUIAccess bool     `json:"admin_ui_access"`
	}{newUserBody(identity.User), identity.User.Role.IsAdmin()})
}

// handleSetup runs the first setup of a server. A browser on the server's machine has a loopback address
// whatever page it shows, so a page of another origin may not send it here.
func (s *Server) handleSetup(w http.ResponseWriter, r *http.Request) {
	if s.refusesSetup(w, r) {
		return
	}
	if err := s.origins.Check(r); err != nil {
		writePlainError(w, http.StatusForbidden, "forbidden", "Setup is not open to pages of other origins")
		return
	}
	var request auth.SetupRequest
	if !s.decodeStrictly(w, r, map[string]any{
		"user": &request.User, "password": &request.Password, "root_password": &request.RootPassword, "email": &request.Email,
	}) {
		return
	}
	user, err := s.config.Auth.Setup(auth.WithAddress(r.Context(), s.clientAddr(r).String()), request)
	if err != nil {
		s.writeAuthFailure(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, struct {
		User    userBody `json:"user"`
		Message string   `json:"message"`
	}{newUserBody(user), "The server is set up; log in to continue"})
}

// refusesSetup answers peers that may not see or run the setup.
func (s *Server) refusesSetup(w http.ResponseWriter, r *http.Request) bool {
	// A proxy on this machine speaks for clients elsewhere.
	if s.config.Settings.Auth.AllowRemoteSetup || peerIsLoopback(r) && s.clientAddr(r).IsLoopback() {
		return false
	}
	writePlainError(w, http.StatusForbidden, "forbidden", "Setup is allowed from the server's own machine only")
	return true
}

// handleSetupStatus says whether the first setup is still to come.
func (s *Server) handleSetupStatus(w http.ResponseWriter, r *http.Request) {
	if s.refusesSetup(w, r) {
		return
	}
	needed, err := s.config.Auth.NeedsSetup(r.Context())
	if err != nil {
		s.writeAuthFailure(w, r, err)
		return
	}
	message := "The server is set up"
	if needed {
		message = "The server has to be set up: root has no password"
	}
	writeJSON(w, http.StatusOK, struct {
		NeedsSetup bool   `json:"needs_setup"`
		Message    string `json:"message"`
	}{needed, message})
}

// maxAuthBodyBytes bounds the bodies of these routes.
const maxAuthBodyBytes = 16 << 10

// decodeStrictly reads a JSON object, all of whose keys have a target. When it cannot, it answers and
// reports false.
func (s *Server) decodeStrictly(w http.ResponseWriter, r *http.Request, targets map[string]any) bool {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAuthBodyBytes))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		s.writeGuard(w, bodyTooLarge(maxAuthBodyBytes))
		return false
	}
	if err != nil || !utf8.Valid(raw) {
		writePlainError(w, http.StatusBadRequest, "invalid_request", "The body could not be read")
		return false
	}
	if err := readObject(raw, targets, true); err != nil {
		writePlainError(w, http.StatusBadRequest, "invalid_request",
			"The body is not a JSON object of the expected form: "+err.Error())
		return false
	}
	return true
}

// authAnswer is how the routes of sessions answer one reason of refusal.
func authAnswer(reason auth.Reason) (status int, code string) {
	switch reason {
	case auth.InvalidCredentials, auth.MissingAuthorization, auth.TokenExpired:
		return http.StatusUnauthorized, "unauthorized"
	case auth.AccountLocked:
		return http.StatusUnauthorized, "account_locked"
	case auth.SetupRequired:
		return http.StatusPreconditionRequired, "setup_required"
	case auth.AlreadyConfigured:
		return http.StatusConflict, "already_configured"
	case auth.UserExists:
		return http.StatusConflict, "user_exists"
	case auth.InvalidUser:
		return http.StatusBadRequest, "invalid_user"
	case auth.WeakPassword:
		return http.StatusBadRequest, "weak_password"
	}
	return http.StatusUnauthorized, "unauthorized"
}

// writeAuthFailure answers a refused or failed request of a session route.
func (s *Server) writeAuthFailure(w http.ResponseWriter, r *http.Request, err error) {
	if reason, refused := auth.ReasonOf(err); refused {
		status, code := authAnswer(reason)
		writePlainError(w, status, code, err.Error())
		return
	}
	f := s.failureOf(r, err)
	f.setRetryAfter(w)
	code := "internal_error"
	switch {
	case f.retry:
		code = "unavailable"
	case f.status == http.StatusGatewayTimeout:
		code = "timeout"
	}
	message, _ := f.visible(false)
	writePlainError(w, f.status, code, message)
}
