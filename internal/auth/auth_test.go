package auth_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
	"github.com/kalamdb/kalamdb-go/test/metanode"
)

const (
	testSecret    = "k3y-of-the-tests-0123456789abcdefghij"
	alicePassword = "alice has a long password"
)

// world is a service over a real meta group, with time that tests move.
type world struct {
	*auth.Service
	t     testing.TB
	node  *metanode.Node
	clock *clock.Manual
}

func newWorld(tb testing.TB, change func(*auth.Config)) *world {
	tb.Helper()
	wall := clock.NewManual(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	node, err := metanode.Open(tb.TempDir(), wall)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if failure := node.Close(); failure != nil {
			tb.Error(failure)
		}
	})
	config := auth.Config{
		Catalog: node.Catalog, Executor: node.Executor, Clock: wall, Secret: auth.FixedSecret(testSecret),
		BcryptCost: bcrypt.MinCost, HashWorkers: 4, LockoutFailures: 5,
	}
	if change != nil {
		change(&config)
	}
	service, err := auth.New(config)
	if err != nil {
		tb.Fatal(err)
	}
	return &world{Service: service, t: tb, node: node, clock: wall}
}

func (w *world) run(body *commandv1.Command) {
	w.t.Helper()
	if _, err := w.node.Executor.Execute(w.t.Context(), shard.Meta, body); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) addUser(id, password string, role session.Role) {
	w.t.Helper()
	hash := ""
	if password != "" {
		var err error
		if hash, err = w.Hash(w.t.Context(), password); err != nil {
			w.t.Fatal(err)
		}
	}
	w.run(&commandv1.Command{Body: &commandv1.Command_CreateUser{CreateUser: &commandv1.CreateUser{User: &commandv1.User{
		Id: id, PasswordHash: hash, Role: uint32(role), AuthType: auth.TypePassword, Email: id + "@example.com",
	}}}})
}

func (w *world) stored(id ident.UserID) *catalog.User {
	w.t.Helper()
	account, ok := w.node.Catalog.Current().User(id)
	if !ok {
		w.t.Fatalf("user %s is not stored", id)
	}
	return account
}

func (w *world) login(user ident.UserID, password string) auth.Grant {
	w.t.Helper()
	grant, err := w.Login(w.t.Context(), user, password)
	if err != nil {
		w.t.Fatal(err)
	}
	return grant
}

func wantReason(t *testing.T, err error, want auth.Reason) {
	t.Helper()
	if reason, ok := auth.ReasonOf(err); !ok || reason != want {
		t.Fatalf("err = %v (reason %d), want reason %d", err, reason, want)
	}
}

func TestUnknownUserAndWrongPasswordLookTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.addUser("alice", alicePassword, session.RoleUser)
	w.addUser("empty", "", session.RoleUser)
	w.addUser("gone", alicePassword, session.RoleUser)
	w.run(&commandv1.Command{Body: &commandv1.Command_DropUser{DropUser: &commandv1.DropUser{Id: "gone"}}})
	w.run(&commandv1.Command{Body: &commandv1.Command_CreateUser{CreateUser: &commandv1.CreateUser{User: &commandv1.User{
		Id: "oauth", PasswordHash: w.stored("alice").PasswordHash, Role: uint32(session.RoleUser), AuthType: "oauth",
	}}}})
	seen := make(map[string]bool)
	for _, attempt := range []struct {
		user     ident.UserID
		password string
	}{
		{"alice", "not her password"},
		{"alice", ""},
		{"nobody", alicePassword},
		{"nobody", ""},
		{"empty", ""},
		{"empty", "anything"},
		{"gone", alicePassword},
		{"oauth", alicePassword},
		{"root", "anything"},
		{"alice", alicePassword + strings.Repeat("x", 100)},
	} {
		before := w.node.Index()
		_, err := w.Login(t.Context(), attempt.user, attempt.password)
		wantReason(t, err, auth.InvalidCredentials)
		seen[err.Error()] = true
		if w.node.Index() != before+1 {
			t.Errorf("login of %q wrote %d commands, want one like every other", attempt.user, w.node.Index()-before)
		}
	}
	if len(seen) != 1 {
		t.Errorf("the answers differ: %v", seen)
	}
}

func TestPasswordBeyondWhatBcryptReadsIsNotCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	longest := strings.Repeat("p", 72)
	w.addUser("alice", longest, session.RoleUser)
	w.login("alice", longest)
	_, err := w.Login(t.Context(), "alice", longest+"p")
	wantReason(t, err, auth.InvalidCredentials)
	if _, err := w.Hash(t.Context(), longest+"p"); fault.KindOf(err) != fault.LimitExceeded {
		t.Errorf("Hash of 73 bytes: %v", err)
	}
}

func TestLockoutAfterFailuresAndItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.addUser("alice", alicePassword, session.RoleUser)
	for range 4 {
		_, err := w.Login(t.Context(), "alice", "wrong password")
		wantReason(t, err, auth.InvalidCredentials)
	}
	w.login("alice", alicePassword) // counts from zero again
	for range 5 {
		_, err := w.Login(t.Context(), "alice", "wrong password")
		wantReason(t, err, auth.InvalidCredentials)
	}
	_, err := w.Login(t.Context(), "alice", alicePassword)
	wantReason(t, err, auth.AccountLocked)
	w.clock.Advance(15*time.Minute - time.Microsecond)
	_, err = w.Login(t.Context(), "alice", alicePassword)
	wantReason(t, err, auth.AccountLocked)
	w.clock.Advance(time.Microsecond)
	w.login("alice", alicePassword)
	if got := w.stored("alice"); got.FailedLogins != 0 || got.LockedUntilMicros != 0 {
		t.Errorf("stored = %+v, want no failures and no lock", got)
	}
}

// TestEveryStoredAccountLocks: also one whose id could not be given to a new user.
func TestEveryStoredAccountLocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.addUser("tab\tbed", alicePassword, session.RoleUser)
	for range 5 {
		_, err := w.Login(t.Context(), "tab\tbed", "wrong")
		wantReason(t, err, auth.InvalidCredentials)
	}
	_, err := w.Login(t.Context(), "tab\tbed", alicePassword)
	wantReason(t, err, auth.AccountLocked)
}

func TestLockoutCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *auth.Config) { c.LockoutFailures = 0 })
	w.addUser("alice", alicePassword, session.RoleUser)
	for range 20 {
		_, err := w.Login(t.Context(), "alice", "wrong password")
		wantReason(t, err, auth.InvalidCredentials)
	}
	w.login("alice", alicePassword)
}

func TestFailuresThatCannotBeCountedRefuseTheLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.addUser("alice", alicePassword, session.RoleUser)
	w.node.FailWith(errors.New("no quorum"))
	for _, password := range []string{alicePassword, "wrong password"} {
		_, err := w.Login(t.Context(), "alice", password)
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("login without quorum: %v, want unavailable", err)
		}
	}
	w.node.FailWith(nil)
	w.login("alice", alicePassword)
}

func TestSuccessfulLoginIsRecordedAtMostOnceAMinute(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.addUser("alice", alicePassword, session.RoleUser)
	before := w.node.Index()
	for range 3 {
		w.login("alice", alicePassword)
	}
	if wrote := w.node.Index() - before; wrote != 1 {
		t.Fatalf("three logins wrote %d commands, want 1", wrote)
	}
	w.clock.Advance(time.Minute)
	w.login("alice", alicePassword)
	if wrote := w.node.Index() - before; wrote != 2 {
		t.Fatalf("a login a minute later: %d commands, want 2", wrote)
	}
	if got, want := w.stored("alice").LastLoginMicros, w.clock.Now().UnixMicro(); got != want {
		t.Errorf("last login = %d, want %d", got, want)
	}
}

func TestPasswordPolicy(t *testing.T) {
	t.Parallel()
	plain := newWorld(t, nil)
	strict := newWorld(t, func(c *auth.Config) { c.ComplexityRule = true })
	for _, test := range []struct {
		password      string
		plain, strict bool // whether it is accepted
	}{
		{"", false, false},
		{"short7!", false, false},
		{"Password123", false, false},
		{"12345678", false, false},
		{strings.Repeat("a", 73), false, false},
		{"nul\x00inside it", false, false},
		{"bytes \xff\xfe not text", false, false},
		{"all lower case words", true, false},
		{"MixedCase with 1 digit", true, true},
		{"ümlaut-Große-9", true, true},
		{"ééééééé", false, false},
	} {
		if got := plain.CheckPassword(test.password) == nil; got != test.plain {
			t.Errorf("plain policy on %q: accepted = %v", test.password, got)
		}
		if got := strict.CheckPassword(test.password) == nil; got != test.strict {
			t.Errorf("strict policy on %q: accepted = %v", test.password, got)
		}
	}
	if err := plain.Check("short"); err != nil {
		t.Errorf("statements are held to the policy although the complexity rule is off: %v", err)
	}
	if err := plain.Check(""); fault.KindOf(err) != fault.InvalidStatement {
		t.Errorf("an empty password: %v", err)
	}
	if err := plain.Check(strings.Repeat("a", 73)); fault.KindOf(err) != fault.InvalidStatement {
		t.Errorf("a password that bcrypt cannot read: %v", err)
	}
	if err := strict.Check("all lower case words"); fault.KindOf(err) != fault.InvalidStatement {
		t.Errorf("strict policy for statements: %v", err)
	}
}

func TestValidUserID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"": false, "a..b": false, "a/b": false, `a\b`: false, "a\x00b": false, "a\nb": false, "\xff": false,
		strings.Repeat("u", 129): false, strings.Repeat("u", 128): true, "alice": true, "ü-1_x@example.com": true, "a b": true,
	} {
		if got := auth.ValidUserID(id); got != want {
			t.Errorf("ValidUserID(%q) = %v", id, got)
		}
	}
}

func TestNewRefusesAnIncompleteConfiguration(t *testing.T) {
	t.Parallel()
	if _, err := auth.New(auth.Config{}); err == nil {
		t.Error("New accepted an empty configuration")
	}
	w := newWorld(t, nil)
	for _, cost := range []int{3, 32, -1} {
		_, err := auth.New(auth.Config{
			Catalog: w.node.Catalog, Executor: w.node.Executor, Clock: w.clock, Secret: auth.FixedSecret("x"), BcryptCost: cost,
		})
		if err == nil {
			t.Errorf("New accepted cost %d", cost)
		}
	}
}
