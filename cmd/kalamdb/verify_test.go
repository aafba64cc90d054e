package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestVerifyCommand makes a backup of a running node and reads it: whole, with a wrong bit, without its manifest.
func TestVerifyCommand(t *testing.T) {
	t.Parallel()
	node, cfg := openStandalone(t)
	t.Cleanup(func() {
		if failed := node.Close(context.WithoutCancel(t.Context())); failed != nil {
			t.Error(failed)
		}
	})
	place := t.TempDir()
	backUp(t, &sqlClient{url: "http://" + node.APIAddr(), user: "root", password: cfg.Auth.RootPassword}, place)
	command := func(wantCode int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"verify"}, args...), noEnvironment, &out, &errs); code != wantCode {
			t.Fatalf("verify %v: code %d, want %d; %s%s", args, code, wantCode, &out, &errs)
		}
		return out.String()
	}
	if says := command(exitClean, place); !strings.Contains(says, "1 tables, 3 rows") || !strings.Contains(says, "no damage") {
		t.Errorf("sound: %q", says)
	}
	if says := command(exitClean, "--json", place); !strings.Contains(says, `"rows": 3`) {
		t.Errorf("sound, as JSON: %q", says)
	}
	command(exitUsage, t.TempDir())
	command(exitUsage, "--backup", "20000101T000000.000000Z", place)
	chunks, err := filepath.Glob(filepath.Join(place, "chunks", "*", "*"))
	if err != nil || len(chunks) == 0 {
		t.Fatalf("no chunks: %v", err)
	}
	for _, path := range chunks {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if says := command(exitFailure, place); !strings.Contains(says, "DAMAGE") {
		t.Errorf("damaged: %q", says)
	}
}

// backUp writes three rows and a backup of them.
func backUp(t *testing.T, c *sqlClient, place string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ask := func(text string) *table {
		t.Helper()
		for {
			answer, err := c.sql(ctx, text)
			if err == nil {
				return answer
			}
			if ctx.Err() != nil || !strings.Contains(err.Error(), "try again") { // the node is starting
				t.Fatalf("%s: %v", text, err)
			}
		}
	}
	ask("CREATE NAMESPACE app")
	ask("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY)")
	ask("INSERT INTO app.t VALUES (1), (2), (3)")
	ask("BACKUP DATABASE TO '" + place + "'")
	for len(ask("SELECT name FROM system.backups").objects()) == 0 {
		if ctx.Err() != nil {
			t.Fatalf("no backup: %v", ask("SELECT job_id, status, message FROM system.jobs").objects())
		}
	}
}
