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
	threeRows(t, c)
	j := jobCommand{client: *c}
	started, err := c.sql(t.Context(), "BACKUP DATABASE TO '"+place+"'")
	if err != nil {
		t.Fatal(err)
	}
	end, err := j.follow(t.Context(), jobInMessage.FindStringSubmatch(started.message)[1], func(string) {})
	if err != nil || end.Status != "completed" {
		t.Fatal(end, err)
	}
}

// threeRows makes a table with three rows.
func threeRows(t *testing.T, c *sqlClient) {
	t.Helper()
	for _, text := range []string{"CREATE NAMESPACE app", "CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY)", "INSERT INTO app.t VALUES (1), (2), (3)"} {
		onceStarted(t, c, text)
	}
}

// onceStarted runs a statement on a node that may be starting still.
func onceStarted(t *testing.T, c *sqlClient, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		_, err := c.sql(ctx, text)
		if err == nil {
			return
		}
		if ctx.Err() != nil || !strings.Contains(err.Error(), "try again") {
			t.Fatalf("%s: %v", text, err)
		}
	}
}
