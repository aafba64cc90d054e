package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/server"
)

// TestCheckCommand runs the command over a sound directory, a damaged one, one that is in use, and one that is none.
func TestCheckCommand(t *testing.T) {
	t.Parallel()
	node, cfg := openStandalone(t)
	command := func(wantCode int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"check"}, args...), noEnvironment, &out, &errs); code != wantCode {
			t.Fatalf("check %v: code %d, want %d; %s%s", args, code, wantCode, &out, &errs)
		}
		return out.String(), errs.String()
	}
	dir := cfg.Storage.DataPath
	if _, says := command(exitUsage, dir); !strings.Contains(says, "stop the node first") {
		t.Errorf("in use: %q", says)
	}
	if err := node.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, says := command(exitUsage, t.TempDir()); !strings.Contains(says, "not a data directory") {
		t.Errorf("an empty directory: %q", says)
	}
	if says, _ := command(exitClean, dir); !strings.Contains(says, "no damage") || !strings.Contains(says, "data:user:07") {
		t.Errorf("sound: %q", says)
	}
	segment := filepath.Join(dir, "log", "raft-0000000000000001.log")
	raw, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	raw[4096+100] ^= 1
	if err := os.WriteFile(segment, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if says, failure := command(exitFailure, dir); !strings.Contains(says, "DAMAGE log") || !strings.Contains(failure, "docs/ops/damage.md") {
		t.Errorf("damaged: %q, %q", says, failure)
	}
	says, _ := command(exitFailure, "--json", dir)
	var report server.CheckReport
	if err := json.Unmarshal([]byte(says), &report); err != nil || report.Damage == 0 || report.State != "member" {
		t.Errorf("damaged, as JSON: %+v, %v", report, err)
	}
}

// openStandalone runs a node, which the caller must close.
func openStandalone(t *testing.T) (*server.Node, *config.Config) {
	t.Helper()
	cfg := config.Default()
	cfg.Server.Port = 0
	cfg.Storage.DataPath = filepath.Join(t.TempDir(), "data")
	cfg.Auth.RootPassword, cfg.Auth.BcryptCost = "correct horse battery", 4
	cfg.Raft.LogSegmentBytes = 1 << 20
	node, err := server.Open(t.Context(), cfg, server.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return node, cfg
}
