package auth_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

const rootPassword = "root has a long password"

func validSetup() auth.SetupRequest {
	return auth.SetupRequest{User: "boss", Password: "boss has a long password", RootPassword: rootPassword, Email: "boss@example.com"}
}

func TestSetupRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	if err := w.EnsureRoot(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	w.addUser("taken", alicePassword, session.RoleUser)
	for _, test := range []struct {
		name   string
		change func(*auth.SetupRequest)
		want   auth.Reason
	}{
		{"weak root password", func(r *auth.SetupRequest) { r.RootPassword = "short" }, auth.WeakPassword},
		{"weak password", func(r *auth.SetupRequest) { r.Password = "password123" }, auth.WeakPassword},
		{"no user", func(r *auth.SetupRequest) { r.User = "" }, auth.InvalidUser},
		{"path as user", func(r *auth.SetupRequest) { r.User = "../x" }, auth.InvalidUser},
		{"reserved user", func(r *auth.SetupRequest) { r.User = "system" }, auth.InvalidUser},
		{"root as user", func(r *auth.SetupRequest) { r.User = "root" }, auth.UserExists},
		{"user that exists", func(r *auth.SetupRequest) { r.User = "taken" }, auth.UserExists},
	} {
		request := validSetup()
		test.change(&request)
		_, err := w.Setup(t.Context(), request)
		if reason, _ := auth.ReasonOf(err); reason != test.want {
			t.Errorf("%s: err = %v, want reason %d", test.name, err, test.want)
		}
	}
	if needed, err := w.NeedsSetup(t.Context()); err != nil || !needed {
		t.Errorf("after refusals: needs setup = %v, err = %v", needed, err)
	}
	w.node.FailWith(errors.New("no quorum"))
	if _, err := w.Setup(t.Context(), validSetup()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("setup without quorum: %v", err)
	}
	if _, err := w.NeedsSetup(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("setup status without quorum: %v", err)
	}
}

func TestSetupFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	if err := w.EnsureRoot(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	_, err := w.Login(t.Context(), "root", "")
	wantReason(t, err, auth.SetupRequired)
	user, err := w.Setup(t.Context(), validSetup())
	if err != nil || user.ID != "boss" || user.Role != session.RoleDBA || user.Email != "boss@example.com" || user.CreatedMicros == 0 {
		t.Fatalf("user = %+v, err = %v", user, err)
	}
	needed, err := w.NeedsSetup(t.Context())
	if err != nil || needed {
		t.Errorf("needs setup = %v, err = %v", needed, err)
	}
	if role := w.login("root", rootPassword).User.Role; role != session.RoleSystem {
		t.Errorf("root's role = %v", role)
	}
	w.login("boss", validSetup().Password)
	request := validSetup()
	request.User = "second"
	_, err = w.Setup(t.Context(), request)
	wantReason(t, err, auth.AlreadyConfigured)
	_, err = w.Login(t.Context(), "root", "")
	wantReason(t, err, auth.InvalidCredentials)
}

func TestSetupWithoutARootAccountMakesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	if _, err := w.Setup(t.Context(), validSetup()); err != nil {
		t.Fatal(err)
	}
	w.login("root", rootPassword)
}

func TestConcurrentSetupsHaveOneWinner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	var group sync.WaitGroup
	outcomes := make(chan error, 4)
	for _, user := range []string{"a", "b", "c", "d"} {
		group.Go(func() {
			request := validSetup()
			request.User = ident.UserID(user)
			_, err := w.Setup(t.Context(), request)
			outcomes <- err
		})
	}
	group.Wait()
	close(outcomes)
	won := 0
	for err := range outcomes {
		if err == nil {
			won++
			continue
		}
		wantReason(t, err, auth.AlreadyConfigured)
	}
	if won != 1 {
		t.Errorf("%d setups succeeded", won)
	}
}

func TestEnsureRoot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, password := range []string{"", "", rootPassword, rootPassword, "another password", ""} {
		if err := w.EnsureRoot(t.Context(), password); err != nil {
			t.Fatalf("EnsureRoot(%q): %v", password, err)
		}
	}
	// The first password that was not empty stays.
	w.login("root", rootPassword)
	root := w.stored("root")
	if root.Role != session.RoleSystem || root.AuthType != auth.TypeInternal {
		t.Errorf("root = %+v", root)
	}
	before := w.node.Index()
	if err := w.EnsureRoot(t.Context(), rootPassword); err != nil || w.node.Index() != before {
		t.Errorf("a further start wrote %d commands, err = %v", w.node.Index()-before, err)
	}
	w.node.FailWith(errors.New("no quorum"))
	if err := w.EnsureRoot(t.Context(), rootPassword); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("without quorum: %v", err)
	}
}

func TestEnsureRootOnManyNodesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if err := w.EnsureRoot(t.Context(), rootPassword); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	w.login("root", rootPassword)
}
