package server

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore/objstoretest"
)

const storageSecret = "hush-hush-secret"

// oneNode starts a node, and logs root in.
func oneNode(t *testing.T, change func(*config.Config)) (*Node, client) {
	t.Helper()
	cfg := testConfig(t.TempDir())
	change(cfg)
	n := openNode(t, cfg, Options{})
	waitReady(t, n)
	return n, login(t, n, "root", rootPassword)
}

// s3Statement is a CREATE STORAGE for a server of a test.
func s3Statement(name string, server *objstoretest.Server) string {
	return "CREATE STORAGE " + name + " TYPE s3 BUCKET 's3://" + objstoretest.Bucket + "/" + name + "' REGION 'eu-west-1' ENDPOINT '" + server.URL + "'" +
		` CREDENTIALS '{"access_key_id":"AKIA-TEST","secret_access_key":"` + storageSecret + `"}'`
}

// TestS3Storage creates, checks, alters and drops a storage in S3, and looks for its secret wherever a dba looks.
func TestS3Storage(t *testing.T) {
	t.Parallel()
	server := objstoretest.NewServer(t)
	n, root := oneNode(t, func(cfg *config.Config) {
		cfg.Storage.CredentialsKey = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
	})
	root.sql(s3Statement("archive", server))
	for _, id := range []string{"archive", "archive EXTENDED"} {
		if got := root.grid("STORAGE CHECK " + id); !strings.Contains(got, "|healthy|true|true|true|true|") {
			t.Errorf("STORAGE CHECK %s: %s", id, got)
		}
	}
	shown := root.grid("SELECT base_directory, credentials, config_json FROM system.storages WHERE storage_id = 'archive'")
	if want := `s3://` + objstoretest.Bucket + `/archive|"***"|{"endpoint":"` + server.URL + `","region":"eu-west-1"}`; shown != want {
		t.Errorf("system.storages: %s, want %s", shown, want)
	}
	stored, found, err := n.store.Get(keys.Storage("archive"))
	if err != nil || !found || bytes.Contains(stored, []byte(storageSecret)) || !bytes.Contains(stored, []byte("sealed:1:")) {
		t.Errorf("the record in the store: %q, %v", stored, err)
	}
	for _, view := range []string{"SHOW STORAGES", "SELECT * FROM system.storages", "SELECT * FROM system.audit_log", "SELECT * FROM system.server_logs", "SELECT * FROM system.settings", "SELECT * FROM system.jobs"} {
		if answer := root.sql(view); strings.Contains(answer, storageSecret) || strings.Contains(answer, "AKIA-TEST") || strings.Contains(answer, "sealed:") {
			t.Errorf("%s shows the credentials", view)
		}
	}
	root.sql(`ALTER STORAGE archive SET CREDENTIALS '{"access_key_id":"other","secret_access_key":"also-` + storageSecret + `"}'`)
	root.sql("ALTER STORAGE archive SET NAME 'Old rows' USER_TABLES_TEMPLATE 'u/{userId}/{namespace}/{tableName}'")
	if storage, _ := n.catalog.Current().Storage("archive"); storage.Name != "Old rows" || !strings.HasPrefix(storage.Credentials, "sealed:1:") {
		t.Errorf("after ALTER: %+v", storage)
	}
	for name, fault := range map[string]http.Handler{
		"healthy":     nil,
		"unreachable": objstoretest.Answer(http.StatusForbidden, "AccessDenied"),
		"degraded": objstoretest.Wrap(func(w http.ResponseWriter, r *http.Request, s3 http.Handler) {
			r.Header.Del("If-None-Match") // a server that does not know the condition
			s3.ServeHTTP(w, r)
		}),
	} {
		server.Fail(func(*http.Request) http.Handler { return fault })
		if got := root.grid("STORAGE CHECK archive EXTENDED"); !strings.Contains(got, "|"+name+"|") {
			t.Errorf("%s: %s", name, got)
		}
	}
	server.Fail(func(*http.Request) http.Handler { return objstoretest.Answer(http.StatusForbidden, "AccessDenied") })
	for sql, part := range map[string]string{
		s3Statement("second", server): "AccessDenied",
		"CREATE STORAGE s TYPE s3 BUCKET 'b'" + ` CREDENTIALS '{"secret":"` + storageSecret + `"}'`: "unknown field",
		"ALTER STORAGE archive SET BUCKET 'b/../c'":                                                 "dot",
	} {
		status, a := root.ask(sql)
		if status != http.StatusBadRequest || !strings.Contains(a.Error.Message, part) || strings.Contains(a.Error.Message, storageSecret) {
			t.Errorf("%s: %d %+v, want 400 with %q", sql, status, a.Error, part)
		}
	}
	server.Fail(nil)
	root.sql("DROP STORAGE archive")
}

// TestCredentialsNeedAKey shows what happens without storage.credentials_key: nothing is kept in the clear.
func TestCredentialsNeedAKey(t *testing.T) {
	server := objstoretest.NewServer(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "from-the-environment")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "as-well")
	n, root := oneNode(t, func(*config.Config) {})
	if status, a := root.ask(s3Statement("archive", server)); status != http.StatusBadRequest || !strings.Contains(a.Error.Message, "storage.credentials_key") {
		t.Errorf("%d %+v", status, a.Error)
	}
	root.sql("CREATE STORAGE archive TYPE s3 BUCKET '" + objstoretest.Bucket + "' ENDPOINT '" + server.URL + "'")
	if storage, found := n.catalog.Current().Storage("archive"); !found || storage.Credentials != "" {
		t.Errorf("storage: %+v", storage)
	}
	if got := root.grid("STORAGE CHECK archive"); !strings.Contains(got, "|healthy|") {
		t.Errorf("with the credentials of the environment: %s", got)
	}
}
