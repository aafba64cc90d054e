package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func noEnvironment(string) string { return "" }

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWrongCommandLinesAndConfigurationsExitWithTwo(t *testing.T) {
	t.Parallel()
	wrong := writeConfig(t, "[server]\nport = 99999\n")
	weak := writeConfig(t, "[server]\nhost = \"0.0.0.0\"\nport = 0\n[auth]\njwt_secret = \"short\"\n")
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"--no-such-flag"}, "no-such-flag"},
		{[]string{"a.toml", "b.toml"}, "accepts at most 1"},
		{[]string{"serve", "a.toml"}, "kalamdb serve --help"},
		{[]string{"serve", "--config", ""}, "--config"},
		{[]string{"serve", "--config"}, "--config"},
		{[]string{"version", "now"}, "now"},
		{[]string{filepath.Join(t.TempDir(), "absent.toml")}, "absent.toml"},
		{[]string{wrong}, "server.port = 99999"},
		{[]string{"serve", "-c", wrong}, "server.port = 99999"},
		{[]string{weak}, "auth.jwt_secret has 5 characters"},
		{[]string{"demo", "--for", "-1s"}, "--for -1s"},
		{[]string{"demo", "--for", "soon"}, "soon"},
		{[]string{"demo", "--nodes", "0"}, "1 to 9"},
		{[]string{"demo", "--nodes", "10"}, "1 to 9"},
		{[]string{"demo", "--writes", "0"}, "--writes 0"},
		{[]string{"demo", "--http-port", "65535"}, "0 to 65532"},
		{[]string{"demo", "--log-level", "loud"}, "debug, info, warn, error"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), test.args, noEnvironment, &stdout, &stderr)
		if code != exitUsage || !strings.Contains(stderr.String(), test.says) || stdout.Len() != 0 {
			t.Errorf("%v: code %d, stderr %q, stdout %q; want %d and %q", test.args, code, &stderr, &stdout, exitUsage, test.says)
		}
	}
}

func TestWrongEnvironmentExitsWithTwo(t *testing.T) {
	t.Parallel()
	env := func(name string) string { return map[string]string{"KALAMDB_SERVER_PORT": "eighty"}[name] }
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"serve"}, env, &stdout, &stderr); code != exitUsage ||
		!strings.Contains(stderr.String(), "KALAMDB_SERVER_PORT") {
		t.Errorf("code %d, stderr %q", code, &stderr)
	}
}

func TestFailureToStartExitsWithOne(t *testing.T) {
	t.Parallel()
	occupied := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(occupied, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path := writeConfig(t, "[server]\nport = 0\n[storage]\ndata_path = \""+occupied+"\"\n")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{path}, noEnvironment, &stdout, &stderr); code != exitFailure || !strings.Contains(stderr.String(), "start") {
		t.Errorf("code %d, stderr %q", code, &stderr)
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"--help"}, {"version"}, {"serve", "--help"}, {"demo", "--help"}} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, noEnvironment, &stdout, &stderr); code != exitClean ||
			!strings.Contains(strings.ToLower(stdout.String()), "kalamdb") || stderr.Len() != 0 {
			t.Errorf("%v: code %d, stdout %q, stderr %q", args, code, &stdout, &stderr)
		}
	}
}

// TestServeRunsUntilItIsTold starts a node through the command line, logs in, and stops it.
func TestServeRunsUntilItIsTold(t *testing.T) {
	t.Parallel()
	path := writeConfig(t, "[server]\nport = 0\n[storage]\ndata_path = \""+filepath.Join(t.TempDir(), "data")+
		"\"\n[auth]\nbcrypt_cost = 4\n[logging]\nformat = \"json\"\n[unknown]\nkey = 1\n")
	env := func(name string) string {
		return map[string]string{"KALAMDB_ROOT_PASSWORD": "a root password"}[name]
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, writer := io.Pipe()
	exited := make(chan int, 1)
	go func() {
		code := run(ctx, []string{path}, env, io.Discard, writer)
		_ = writer.Close()
		exited <- code
	}()
	running := make(chan string, 1)
	logged := make(chan string, 1)
	go func() {
		var all strings.Builder
		lines := bufio.NewScanner(reader)
		for lines.Scan() {
			all.WriteString(lines.Text() + "\n")
			var line struct {
				Message string `json:"msg"`
				APIAddr string `json:"api_addr"`
			}
			if err := json.Unmarshal(lines.Bytes(), &line); err == nil && line.Message == "node is running" {
				running <- line.APIAddr
			}
		}
		logged <- all.String()
	}()
	select {
	case address := <-running:
		checkServes(t, address)
	case code := <-exited:
		t.Fatalf("ended with %d:\n%s", code, <-logged)
	}
	stop()
	code := <-exited
	logs := <-logged
	if code != exitClean || !strings.Contains(logs, `"stopped"`) || strings.Count(logs, "unknown configuration keys") != 1 {
		t.Errorf("code %d, logs:\n%s", code, logs)
	}
}

func checkServes(t *testing.T, address string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	err = errors.Join(err, answer.Body.Close())
	if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), version) {
		t.Errorf("health: %d %s, err = %v", answer.StatusCode, body, err)
	}
}
