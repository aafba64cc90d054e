package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kalamdb/kalamdb-go/client"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/server"
)

const password = "correct horse battery"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kalam": main})
}

// startServer is serve, with a namespace app.
func startServer(t *testing.T) string {
	t.Helper()
	url := serve(t, password)
	c, err := client.New(client.Config{URLs: []string{url}, User: "root", Password: password, Attempts: 30})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "CREATE NAMESPACE app"); err != nil {
		t.Fatal(err)
	}
	return url
}

// serve runs a standalone node until the test ends and returns its URL.
func serve(t *testing.T, rootPassword string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Storage.DataPath = t.TempDir()
	cfg.Auth.RootPassword, cfg.Auth.BcryptCost = rootPassword, 4
	cfg.RateLimit.MaxAuthRequestsPerIP = 0
	cfg.Raft.LogSegmentBytes = 1 << 20
	node, err := server.Open(t.Context(), cfg, server.Options{APIListener: listener})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if failed := node.Close(ctx); failed != nil {
			t.Error(failed)
		}
	})
	return "http://" + listener.Addr().String()
}

// TestScripts runs what a person types and compares what he sees. Files in testdata use the testscript format; the
// variables URL and KALAM_PASSWORD lead to a server that all scripts share.
func TestScripts(t *testing.T) {
	url := startServer(t)
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: os.Getenv("REWRITE") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("KALAM_PASSWORD", password)
			env.Setenv("KALAM_USER", "root")
			env.Setenv("KALAM_URL", url)
			env.Setenv("URL", url)
			return nil
		},
	})
}

func TestSplit(t *testing.T) {
	for _, c := range []struct{ text, statement, rest string }{
		{"SELECT 1; SELECT 2", "SELECT 1", " SELECT 2"},
		{"SELECT ';'; x", "SELECT ';'", " x"},
		{"SELECT 'it''s;'; x", "SELECT 'it''s;'", " x"},
		{`SELECT E'\';'; x`, `SELECT E'\';'`, " x"},
		{`SELECT nameE'\'; x`, `SELECT nameE'\'`, " x"},
		{`SELECT "a;b"; x`, `SELECT "a;b"`, " x"},
		{"-- a; b\nSELECT 1; x", "-- a; b\nSELECT 1", " x"},
		{"SELECT $$it's; a$$; x", "SELECT $$it's; a$$", " x"},
		{"SELECT $q$ $$; $q$; x", "SELECT $q$ $$; $q$", " x"},
		{"SELECT $1; x", "SELECT $1", " x"},
		{"SELECT a$$; x", "SELECT a$$", " x"},
		{"/* ; /* ; */ ; */ SELECT 1; x", "/* ; /* ; */ ; */ SELECT 1", " x"},
	} {
		statement, rest, complete := split(c.text)
		if statement != c.statement || rest != c.rest || !complete {
			t.Errorf("split(%q) = %q, %q, %v; want %q, %q", c.text, statement, rest, complete, c.statement, c.rest)
		}
	}
	for _, text := range []string{"SELECT 1", "SELECT ';", "SELECT $$;", "SELECT $a$;$$", "/* ;", "-- ;", `SELECT ";`} {
		if statement, _, complete := split(text); complete {
			t.Errorf("split(%q) is complete: %q", text, statement)
		}
	}
	if !open("SELECT 'a") || open("SELECT 1 -- it's") {
		t.Error("open quotes are not told from comments")
	}
}

func TestBlockKeepsTransactionsTogether(t *testing.T) {
	var b block
	var sent []string
	for _, statement := range []string{
		"SELECT 1", "begin", "INSERT INTO t VALUES (1)", "ROLLBACK TO s", "COMMIT", "ROLLBACK", "-- c\nBEGIN", "END",
	} {
		if ready, ok := b.add(statement); ok {
			sent = append(sent, ready)
		}
	}
	want := "SELECT 1|begin;\nINSERT INTO t VALUES (1);\nROLLBACK TO s;\nCOMMIT|ROLLBACK|-- c\nBEGIN;\nEND"
	if got := strings.Join(sent, "|"); got != want || b.opened() {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func TestHistory(t *testing.T) {
	lines := []string{`SELECT '\n'`, "SELECT 1", `\dt`}
	if got := decodeHistory(encodeHistory(lines)); got != strings.Join(lines, "\n")+"\n" {
		t.Errorf("history came back as %q", got)
	}
	if !secret("create user x with password 'p'") || secret("SELECT 1") {
		t.Error("secrets are not recognised")
	}
	for statement, want := range map[string]string{
		"SELECT 1, -- the first\n  2": "SELECT 1,  2", "SELECT 'a' -- x\r\n, 2": "SELECT 'a'  , 2", "SELECT '--', \"--\" -- 'x\n": "SELECT '--', \"--\"",
		"SELECT\n  1 AS x": "SELECT 1 AS x", "SELECT 'open\nstring'": "", "SELECT $$a -- b\nc$$": "", "SELECT 1 /* a -- b */\n, 2": "SELECT 1 /* a -- b */ , 2",
	} {
		if got, fits := oneLine(statement); strings.ReplaceAll(got, "  ", " ") != strings.ReplaceAll(want, "  ", " ") || fits != (want != "") {
			t.Errorf("oneLine(%q) gave %q, %v", statement, got, fits)
		}
	}
}

func TestComplete(t *testing.T) {
	c, err := client.New(client.Config{URLs: []string{"http://127.0.0.1:1"}, Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	w := newWords(c)
	w.loaded = true
	w.tables = []string{"app.notes", "app.names"}
	w.columns = map[string][]string{"app.notes": {"id", "body"}}
	for line, want := range map[string]string{
		"SELECT * FROM app.no":                "app.notes",
		"SELECT * FROM ":                      "app.names app.notes",
		"SELECT * FROM app.notes WHERE bo":    "body boolean",
		"SEL":                                 "SELECT",
		"sel":                                 "select",
		`\ti`:                                 `\timing`,
		"SELECT id FROM app.notes ORDER BY i": "id in index inner insert into is",
	} {
		head, offers, tail := w.complete(t.Context(), line, len(line))
		if got := strings.Join(offers, " "); got != want || tail != "" || !strings.HasPrefix(line, head) {
			t.Errorf("complete(%q) offers %q behind %q, want %q", line, got, head, want)
		}
	}
}

// TestCompletionKnowsAllTables: the catalog has more columns than a server gives at once, and the namespace sorts behind those of the server.
func TestCompletionKnowsAllTables(t *testing.T) {
	c, err := client.New(client.Config{URLs: []string{startServer(t)}, User: "root", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	statements := []string{"CREATE NAMESPACE zoo", "CREATE SHARED TABLE zoo.zebra (id INT PRIMARY KEY, stripes INT)"}
	for i := range 12 {
		var columns strings.Builder
		for j := range 100 {
			fmt.Fprintf(&columns, ", c%d INT", j)
		}
		statements = append(statements, fmt.Sprintf("CREATE SHARED TABLE zoo.pen%02d (id INT PRIMARY KEY%s)", i, columns.String()))
	}
	if _, err = c.Exec(t.Context(), strings.Join(statements, "; ")); err != nil {
		t.Fatal(err)
	}
	w := newWords(c)
	for line, want := range map[string]string{
		"SELECT * FROM zoo.z":                  "zoo.zebra",
		"SELECT * FROM pg_catalog.pg_cl":       "pg_catalog.pg_class",
		"SELECT id FROM zoo.zebra WHERE strip": "stripes",
	} {
		if _, offers, _ := w.complete(t.Context(), line, len(line)); strings.Join(offers, " ") != want {
			t.Errorf("complete(%q) offers %q, want %q", line, offers, want)
		}
	}
}
