package auth_test

import (
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

func (w *world) refresh(token string) (auth.Grant, error) {
	w.t.Helper()
	return w.Refresh(auth.WithAddress(w.t.Context(), "192.0.2.7"), token)
}

// TestReusedRefreshTokenEndsItsFamily: a refresh token is replaced by each refresh. One that was replaced and is shown again later
// than a moment ends every token of that login, on all nodes and for good, and nothing else; the audit log has it.
func TestReusedRefreshTokenEndsItsFamily(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *auth.Config) { c.AuditEntries = 100 })
	w.addUser("ann", alicePassword, session.RoleUser)
	first, other := w.login("ann", alicePassword), w.login("ann", alicePassword)
	second, err := w.refresh(first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	third, err := w.refresh(second.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(30 * time.Second)
	shared, err := w.refresh(second.RefreshToken) // another program that had the same token
	if err != nil {
		t.Fatalf("a moment later: %v", err)
	}
	fourth, err := w.refresh(shared.RefreshToken)
	if err != nil {
		t.Fatalf("what came of it: %v", err)
	}

	w.clock.Advance(2 * time.Minute)
	_, err = w.refresh(third.RefreshToken)
	wantReason(t, err, auth.InvalidCredentials)
	for name, token := range map[string]string{"the newest": fourth.RefreshToken, "the first": first.RefreshToken, "the one that was shown": third.RefreshToken} {
		if _, err = w.refresh(token); err == nil {
			t.Errorf("%s refresh token is good although its family has ended", name)
		}
	}
	for _, grant := range []auth.Grant{first, second, third, shared, fourth} {
		if _, err = w.Authenticate(t.Context(), grant.AccessToken); err == nil {
			t.Error("an access token of the family is good although the family has ended")
		}
	}
	if _, err = w.Authenticate(t.Context(), other.AccessToken); err != nil {
		t.Errorf("another login: %v", err)
	}
	if _, err = w.refresh(other.RefreshToken); err != nil {
		t.Errorf("another login: %v", err)
	}
	if _, err = w.refresh(w.login("ann", alicePassword).RefreshToken); err != nil {
		t.Errorf("a new login: %v", err)
	}

	entries, err := w.node.Audit()
	if err != nil {
		t.Fatal(err)
	}
	reused := 0
	for _, entry := range entries {
		if entry.GetAction() == auth.TokenReused {
			reused++
			if entry.GetTarget() != "ann" || entry.GetSubject() != "ann" || entry.GetIpAddress() != "192.0.2.7" {
				t.Errorf("the audit log says %v", entry)
			}
		}
	}
	if reused != 1 {
		t.Errorf("the audit log has %d tokens that were shown again, want the one that ended the family", reused)
	}
}

// TestTokenFamiliesAreBounded: families go with their time, and beyond a number with the one that ends first.
func TestTokenFamiliesAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *auth.Config) { c.LockoutFailures = 0 })
	w.addUser("ann", alicePassword, session.RoleUser)
	var oldest auth.Grant
	for i := range applier.MaxTokenFamilies + 3 {
		grant, err := w.refresh(w.login("ann", alicePassword).RefreshToken)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			oldest = grant
		}
		w.clock.Advance(time.Second)
	}
	if got := len(w.stored("ann").Families); got != applier.MaxTokenFamilies {
		t.Errorf("%d families are remembered, want %d", got, applier.MaxTokenFamilies)
	}
	if _, err := w.refresh(oldest.RefreshToken); err == nil {
		t.Error("a token of a family that is forgotten was replaced")
	}
	w.clock.Advance(8 * 24 * time.Hour)
	if _, err := w.refresh(w.login("ann", alicePassword).RefreshToken); err != nil {
		t.Fatal(err)
	}
	if got := len(w.stored("ann").Families); got != 1 {
		t.Errorf("%d families are remembered a week later, want the new one", got)
	}
}

// TestRefreshTokensMayStayGood: where that is configured, a refresh changes nothing, as in the original.
func TestRefreshTokensMayStayGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *auth.Config) { c.ReuseRefreshTokens = true })
	w.addUser("ann", alicePassword, session.RoleUser)
	grant := w.login("ann", alicePassword)
	before := w.node.Index()
	for range 3 {
		if _, err := w.refresh(grant.RefreshToken); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Hour)
	}
	if w.node.Index() != before {
		t.Error("a refresh wrote a command")
	}
}

// TestLogoutIsAuditedOnce: a logout ends the tokens of its login however often they were replaced, also where refresh tokens are not
// replaced; the audit log has it once.
func TestLogoutIsAuditedOnce(t *testing.T) {
	t.Parallel()
	for _, reuse := range []bool{false, true} {
		w := newWorld(t, func(c *auth.Config) { c.AuditEntries, c.ReuseRefreshTokens = 100, reuse })
		w.addUser("ann", alicePassword, session.RoleUser)
		other := w.login("ann", alicePassword)
		for rotations := range 4 {
			grant := w.login("ann", alicePassword)
			for range rotations {
				var err error
				if grant, err = w.refresh(grant.RefreshToken); err != nil {
					t.Fatal(err)
				}
			}
			ctx := auth.WithAddress(t.Context(), "192.0.2.7")
			for range 2 {
				if err := w.Logout(ctx, "", "garbage", grant.AccessToken, grant.RefreshToken); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := w.refresh(grant.RefreshToken); err == nil {
				t.Errorf("after %d refreshes and a logout the refresh token is good", rotations)
			}
			if _, err := w.Authenticate(t.Context(), grant.AccessToken); err == nil {
				t.Errorf("after %d refreshes and a logout the access token is good", rotations)
			}
		}
		if _, err := w.Authenticate(t.Context(), other.AccessToken); err != nil {
			t.Errorf("another login: %v", err)
		}
		entries, err := w.node.Audit()
		if err != nil {
			t.Fatal(err)
		}
		ended := 0
		for _, entry := range entries {
			if entry.GetAction() == auth.Logout && entry.GetTarget() == "ann" && entry.GetIpAddress() == "192.0.2.7" {
				ended++
			}
			if entry.GetAction() == auth.TokenReused {
				t.Errorf("the audit log says %v", entry)
			}
		}
		if ended != 4 {
			t.Errorf("the audit log has %d logouts, want 4", ended)
		}
	}
}
