package storages_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storages"
)

func encoded(fill string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(fill, storages.KeyBytes)))
}

func keyring(t *testing.T, text string) *storages.Keyring {
	t.Helper()
	ring, err := storages.ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestSealedCredentials(t *testing.T) {
	t.Parallel()
	const secret = `{"access_key_id":"AKIA","secret_access_key":"very secret"}`
	old := keyring(t, encoded("a"))
	sealed, err := old.Seal("archive", secret)
	if err != nil || !storages.Sealed(sealed) || strings.Contains(sealed, "secret_access") || strings.Contains(sealed, "AKIA") {
		t.Fatalf("sealed as %q, %v", sealed, err)
	}
	again, err := old.Seal("archive", secret)
	if err != nil || again == sealed {
		t.Errorf("two seals of one text are equal: %v", err)
	}
	rotated := keyring(t, encoded("b")+", "+encoded("a"))
	for name, ring := range map[string]*storages.Keyring{"the key": old, "a ring with it": rotated} {
		if got, err := ring.Open("archive", sealed); got != secret || err != nil {
			t.Errorf("%s opens %q, %v", name, got, err)
		}
	}
	if newer, err := rotated.Seal("archive", secret); err != nil {
		t.Error(err)
	} else if _, err := old.Open("archive", newer); err == nil {
		t.Error("the second key sealed")
	}
	flipped := sealed[:len(sealed)-6] + "AAAA" + sealed[len(sealed)-2:]
	for name, open := range map[string]func() (string, error){
		"another storage": func() (string, error) { return old.Open("other", sealed) },
		"another key":     func() (string, error) { return keyring(t, encoded("c")).Open("archive", sealed) },
		"no key":          func() (string, error) { return new(storages.Keyring).Open("archive", sealed) },
		"damage":          func() (string, error) { return old.Open("archive", flipped) },
		"a piece":         func() (string, error) { return old.Open("archive", sealed[:25]) },
	} {
		if got, err := open(); err == nil || strings.Contains(err.Error(), "very secret") {
			t.Errorf("%s opened %q, %v", name, got, err)
		}
	}
	if _, err := new(storages.Keyring).Seal("archive", secret); err == nil || !strings.Contains(err.Error(), "storage.credentials_key") {
		t.Errorf("without a key: %v", err)
	}
	for _, nothing := range []string{"", "{}", " { } "} {
		if got, err := new(storages.Keyring).Seal("archive", nothing); got != nothing || err != nil {
			t.Errorf("%q became %q, %v", nothing, got, err)
		}
	}
	for _, wrong := range []string{"short", encoded("a") + ",x", base64.StdEncoding.EncodeToString([]byte("31 bytes are not enough for it!"))} {
		if _, err := storages.ParseKeys(wrong); err == nil || strings.Contains(err.Error(), wrong) {
			t.Errorf("key %q: %v", wrong, err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ bucket, credentials, config, want string }{
		{"b", "", "", ""},
		{"s3://bucket/some/prefix", `{"access_key_id":"a","secret_access_key":"s"}`, `{"region":"eu-west-1"}`, ""},
		{"b", "", `{"endpoint":"http://127.0.0.1:9000","path_style":true}`, ""},
		{"b", "", `{"endpoint":"http://minio:9000","allow_http":true}`, ""},
		{"b", "", `{"endpoint":"http://minio:9000"}`, "in the clear"},
		{"b", "", `{"endpoint":"ftp://x"}`, "endpoint"},
		{"b", "", `{"secret":"x"}`, "secret"},
		{"b", `{"access_key_id":"a"}`, "", "secret_access_key"},
		{"b", `{"password":"hush"}`, "", "CREDENTIALS"},
		{"b/../c", "", "", "dot"},
		{"", "", "", "bucket"},
	} {
		err := storages.Check(&catalog.Storage{ID: "s", Type: storages.TypeS3, BaseDirectory: c.bucket, Credentials: c.credentials, Config: c.config})
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: %v", c, err)
		case err != nil && strings.Contains(err.Error(), "hush"):
			t.Errorf("the error shows the credentials: %v", err)
		}
	}
}

func TestTablePrefix(t *testing.T) {
	t.Parallel()
	storage := &catalog.Storage{ID: "s", SharedTemplate: "s/{namespace}/{tableName}", UserTemplate: "{namespace}/{tableName}/u-{userId}/x"}
	table := &schema.Table{Namespace: "app", Name: "notes"}
	for user, want := range map[ident.UserID]string{
		"": "s/app/notes", "ann": "app/notes/u-ann/x", "../root": "app/notes/u-%2E.%2Froot/x", "{tableName}": "app/notes/u-{tableName}/x",
	} {
		if got, err := storages.TablePrefix(storage, table, user); got != want || err != nil {
			t.Errorf("user %q: %q, %v; want %q", user, got, err, want)
		}
	}
	long := ident.UserID(strings.Repeat("x", 300))
	got, err := storages.TablePrefix(storage, table, long)
	other, err2 := storages.TablePrefix(storage, table, long+"y")
	if err != nil || err2 != nil || got == other {
		t.Errorf("user ids of 300 bytes: %q, %v; %q, %v", got, err, other, err2)
	}
	storage.UserTemplate = strings.Repeat("t", 300) + "/{userId}"
	if got, err := storages.TablePrefix(storage, table, "ann"); err == nil {
		t.Errorf("a directory of 300 bytes: %q", got)
	}
}

func TestSetOpensAgainWhenAltered(t *testing.T) {
	t.Parallel()
	set := storages.NewSet(storages.Config{DataPath: t.TempDir(), FS: disk.Local(), Keys: &storages.Keyring{}, Clock: clock.Real{}})
	defer set.Close()
	storage := &catalog.Storage{ID: "s", Type: storages.TypeS3, BaseDirectory: "b"}
	first, err := set.Open(storage)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := set.Open(storage); err != nil || second != first {
		t.Errorf("opened twice: %v", err)
	}
	altered := *storage
	altered.BaseDirectory = "c"
	if third, err := set.Open(&altered); err != nil || third == first {
		t.Errorf("not opened anew: %v", err)
	}
	if _, err := set.Open(&catalog.Storage{ID: "local", Type: storages.TypeFilesystem}); err != nil {
		t.Error(err)
	}
	if _, err := set.Open(&catalog.Storage{ID: "g", Type: "gcs"}); err == nil {
		t.Error("a type that is not known was opened")
	}
}
