package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/kalamdb/kalamdb-go/internal/loopback"
)

const (
	rootPassword = "correct horse battery"
	jwtSecret    = "end-to-end-secret-0123456789-abcdef"
)

// settings are the keys of a configuration file by their dotted names.
type settings map[string]any

// with returns a copy in which the keys of more are added or replaced.
func (s settings) with(more settings) settings {
	joined := maps.Clone(s)
	maps.Copy(joined, more)
	return joined
}

// text renders the settings as TOML.
func (s settings) text(t *testing.T) []byte {
	t.Helper()
	tree := map[string]any{}
	for key, value := range s {
		table := tree
		parts := strings.Split(key, ".")
		for _, part := range parts[:len(parts)-1] {
			inner, ok := table[part].(map[string]any)
			if !ok {
				inner = map[string]any{}
				table[part] = inner
			}
			table = inner
		}
		table[parts[len(parts)-1]] = value
	}
	text, err := toml.Marshal(tree)
	if err != nil {
		t.Fatalf("render configuration: %v", err)
	}
	return text
}

// node is one server: its files, and its process while it runs. A node that was stopped or killed is
// started again with start.
type node struct {
	id       int
	program  string // the binary
	dir      string // holds kalamdb.toml, data and one log for each start
	rpcAddr  string
	apiAddr  string
	settings settings
	starts   int
	process  *exec.Cmd
	ended    chan struct{} // closed when the process of the last start has ended
}

// newNode prepares a node and picks its ports.
func newNode(t *testing.T, dir string, id int) *node {
	t.Helper()
	addresses, err := loopback.Addresses(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{
		id: id, program: serverBinary, dir: filepath.Join(dir, fmt.Sprintf("node%d", id)),
		rpcAddr: addresses[0], apiAddr: addresses[1],
	}
	_, port, err := net.SplitHostPort(n.apiAddr)
	if err != nil {
		t.Fatal(err)
	}
	apiPort, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	n.settings = settings{
		"server.host":        "127.0.0.1",
		"server.port":        apiPort,
		"storage.data_path":  n.dataDir(),
		"auth.root_password": rootPassword,
		"auth.jwt_secret":    jwtSecret,
		"auth.bcrypt_cost":   4,

		"cluster.peer_wait_initial_delay_ms": 50,
		"cluster.peer_wait_max_delay_ms":     200,

		"rate_limit.max_queries_per_sec":              0,
		"rate_limit.max_auth_requests_per_ip_per_sec": 0,
	}
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.close(t) })
	return n
}

func (n *node) dataDir() string { return filepath.Join(n.dir, "data") }
func (n *node) url() string     { return "http://" + n.apiAddr }
func (n *node) String() string  { return fmt.Sprintf("node %d", n.id) }

func (n *node) logPath(start int) string {
	return filepath.Join(n.dir, fmt.Sprintf("log-%d.txt", start))
}

// start runs the server; it does not wait until the node is ready.
func (n *node) start(t *testing.T) {
	t.Helper()
	if n.running() {
		t.Fatalf("%v runs already", n)
	}
	file := filepath.Join(n.dir, "kalamdb.toml")
	if err := os.WriteFile(file, n.settings.text(t), 0o600); err != nil {
		t.Fatal(err)
	}
	n.starts++
	log, err := os.Create(n.logPath(n.starts))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the process has its own descriptor
	process := exec.Command(n.program, file)
	process.Stdout, process.Stderr = log, log
	process.SysProcAttr = childAttributes()
	process.Env = append(slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "KALAMDB_")
	}), "GORACE=halt_on_error=1")
	if err := process.Start(); err != nil {
		t.Fatalf("start %v: %v", n, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = process.Wait() // the state is read from the process
		close(ended)
	}()
	n.process, n.ended = process, ended
}

func (n *node) running() bool {
	if n.process == nil {
		return false
	}
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

// ready reports why the node is not ready, nil when it is.
func (n *node) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url()+"/readyz", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	var body bytes.Buffer
	_, _ = body.ReadFrom(answer.Body) // only shown
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%v: %s: %s", n, answer.Status, body.String())
	}
	return nil
}

// waitReady returns when the node answers 200 on /readyz. A node whose port was taken by a stranger between
// two starts is started again.
func (n *node) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, fmt.Sprintf("%v becomes ready", n), func() error {
		if n.running() {
			return n.ready()
		}
		if !strings.Contains(n.log(), "address already in use") {
			t.Fatalf("%v ended while starting: %v\n%s", n, n.process.ProcessState, n.log())
		}
		n.start(t)
		return errors.New("its port is taken")
	})
}

// signal sends a signal to the running process.
func (n *node) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := n.process.Process.Signal(sig); err != nil {
		t.Fatalf("send %v to %v: %v", sig, n, err)
	}
}

// kill ends the process as a power cut would, without a word.
func (n *node) kill(t *testing.T) {
	t.Helper()
	n.signal(t, syscall.SIGKILL)
	<-n.ended
}

// stop asks the node to end and wants it to do so cleanly.
func (n *node) stop(t *testing.T) {
	t.Helper()
	n.signal(t, syscall.SIGTERM)
	n.waitEnd(t)
	if code := n.process.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("%v ended with %v after SIGTERM, want exit code 0\n%s", n, n.process.ProcessState, n.log())
	}
}

// waitEnd returns when the process has ended.
func (n *node) waitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-n.ended:
	case <-time.After(waitLimit):
		t.Fatalf("%v has not ended within %v\n%s", n, waitLimit, n.log())
	}
}

// wipe removes the data of a node that does not run.
func (n *node) wipe(t *testing.T) {
	t.Helper()
	if n.running() {
		t.Fatalf("%v still runs", n)
	}
	if err := os.RemoveAll(n.dataDir()); err != nil {
		t.Fatal(err)
	}
}

// log returns the end of what the node wrote since its last start.
func (n *node) log() string {
	const tailBytes = 4 << 10
	text, err := os.ReadFile(n.logPath(n.starts))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-tailBytes):])
}

// close ends the process at the end of the test and prints its log when the test failed.
func (n *node) close(t *testing.T) {
	t.Helper()
	if n.running() {
		_ = n.process.Process.Kill() // it may end by itself at this moment
		<-n.ended
	}
	if n.process != nil && strings.Contains(n.log(), "WARNING: DATA RACE") {
		t.Errorf("%v: the race detector found something", n)
	}
	if t.Failed() && n.process != nil {
		t.Logf("%v, %v, log %s:\n%s", n, n.process.ProcessState, n.logPath(n.starts), n.log())
	}
}

// testDir is t.TempDir, except that a failed test leaves it behind.
func testDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		kept, err := os.MkdirTemp("", "kalamdb-e2e-") //nolint:usetesting // it must outlive the test
		if err != nil {
			t.Logf("keep data and logs: %v", err)
			return
		}
		if err := os.Rename(dir, filepath.Join(kept, "nodes")); err != nil {
			t.Logf("keep data and logs: %v", err)
			return
		}
		t.Logf("data and logs are kept in %s", kept)
	})
	return dir
}
