package auth_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

func TestWeakSecrets(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		secret string
		strong bool
	}{
		{"", false},
		{"short", false},
		{strings.Repeat("x", 31), false},
		{strings.Repeat("ab", 32), false},
		{"CHANGE_ME_in_production_please_now_ok", false},
		{"your-secret-key-change-in-production", false},
		{"kalamdb-dev-secret-key-0123456789abcdef", false},
		{"f3b1c9d27a5e4860b1f2a3c4d5e6f708", true},
		{testSecret, true},
	} {
		warning, err := auth.CheckSecret(test.secret, false)
		if (err == nil) != test.strong || warning != "" {
			t.Errorf("off loopback, %q: warning = %q, err = %v", test.secret, warning, err)
		}
		if err != nil && test.secret != "" && strings.Contains(err.Error(), test.secret) {
			t.Errorf("the error shows the secret: %v", err)
		}
		warning, err = auth.CheckSecret(test.secret, true)
		if err != nil || (warning == "") != (test.strong || test.secret == "") {
			t.Errorf("on loopback, %q: warning = %q, err = %v", test.secret, warning, err)
		}
	}
}

func TestStoredSecret(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	first, err := auth.StoredSecret(directory)
	if err != nil || len(first) < 32 {
		t.Fatalf("secret = %q, err = %v", first, err)
	}
	again, err := auth.StoredSecret(directory)
	if err != nil || again != first {
		t.Fatalf("second call: %q, %v, want %q", again, err, first)
	}
	entries, err := os.ReadDir(directory)
	if err != nil || len(entries) != 1 {
		t.Fatalf("directory holds %v, err = %v", entries, err)
	}
	path := filepath.Join(directory, entries[0].Name())
	if info, failure := os.Stat(path); failure != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, err = %v", info.Mode(), failure)
	}
	if err = os.WriteFile(path, []byte("cut"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = auth.StoredSecret(directory); err == nil {
		t.Error("a damaged secret is accepted")
	}
	if _, err = auth.StoredSecret(filepath.Join(directory, "absent")); err == nil {
		t.Error("a missing directory is accepted")
	}
	other, err := auth.StoredSecret(t.TempDir())
	if err != nil || other == first {
		t.Errorf("two directories have the same secret, err = %v", err)
	}
}

func TestDerivedSecret(t *testing.T) {
	t.Parallel()
	store := catalog.NewStore()
	source := auth.DerivedSecret(store)
	publish := func(uid byte, hash string) []byte {
		t.Helper()
		editor := store.Current().Edit()
		editor.SetCluster(&catalog.Cluster{UID: ident.ClusterUID{uid}})
		editor.SetUser(&catalog.User{ID: auth.RootUser, PasswordHash: hash, Role: session.RoleSystem})
		store.Publish(editor.Picture())
		key, err := source()
		if err != nil || len(key) != 32 {
			t.Fatalf("key = %x, err = %v", key, err)
		}
		return key
	}
	if _, err := source(); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("before the cluster is founded: %v", err)
	}
	first := publish(1, "hash")
	if !bytes.Equal(first, publish(1, "hash")) {
		t.Error("the same cluster gives two keys")
	}
	if bytes.Equal(first, publish(2, "hash")) || bytes.Equal(first, publish(1, "other")) {
		t.Error("another cluster or password gives the same key")
	}
}
