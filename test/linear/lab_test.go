package linear

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/kalamdb/kalamdb-go/internal/loopback"
	"github.com/kalamdb/kalamdb-go/internal/server"
)

const (
	password = "a password of the lab"
	size     = 3 // servers
	// patience is how long a healthy cluster may take for anything.
	patience = 60 * time.Second
)

// lab is the cluster.
type lab struct {
	t       *testing.T
	dir     string
	wires   *loopback.Wires
	only    []string // kinds of faults; nil for all
	servers []*process
	held    int       // of the wires when the fault began
	starts  []process // as they were when it began
}

// process is one server and its files.
type process struct {
	number  int // 1 and up
	binary  string
	dir     string
	api     string
	points  string // where its fail points are set; empty when it is built without
	config  string
	command *exec.Cmd
	ended   chan struct{} // closed when the process of the last start has ended
	paused  bool
	hurried bool   // elections are quick, so that claims of jobs are short; set before configure
	killed  bool   // this lab ended it
	before  string // its identity before its directory was wiped
}

// newLab starts a cluster and waits until it serves. A failed test leaves the directories behind.
func newLab(t *testing.T, binary string) *lab {
	t.Helper()
	return newLabOf(t, binary, false)
}

// newLabOf is newLab, with quick elections if it is hurried.
func newLabOf(t *testing.T, binary string, hurried bool) *lab {
	t.Helper()
	dir, err := os.MkdirTemp("", "kalamdb-lab-") //nolint:usetesting // it outlives a test that failed
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, dir: dir, wires: loopback.NewWires()}
	t.Cleanup(l.close)
	addresses, err := loopback.Addresses(t.Context(), 3*size)
	if err != nil {
		t.Fatal(err)
	}
	rpc, api, points := addresses[:size], addresses[size:2*size], addresses[2*size:]
	for i := range size {
		p := &process{number: i + 1, binary: binary, dir: filepath.Join(dir, strconv.Itoa(i+1)), api: api[i], hurried: hurried}
		p.config = p.dir + ".toml"
		if binary == builtWithPoints {
			p.points = points[i]
		}
		l.servers = append(l.servers, p)
		var peers []map[string]any
		for j := range size {
			address := rpc[j]
			if i != j {
				if address, err = l.wires.Lay(t.Context(), i+1, j+1, rpc[j]); err != nil {
					t.Fatal(err)
				}
			}
			peers = append(peers, map[string]any{"node_id": j + 1, "rpc_addr": address, "api_addr": api[j]})
		}
		if err := p.configure(rpc[i], peers); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(l.startAll(), l.waitReady()); err != nil {
		t.Fatal(err)
	}
	return l
}

func (p *process) configure(rpc string, peers []map[string]any) error {
	host, port, err := net.SplitHostPort(p.api)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	election := []int{500, 1000}
	if p.hurried {
		election = []int{250, 500}
	}
	text, err := toml.Marshal(map[string]any{
		"server":  map[string]any{"host": host, "port": number},
		"storage": map[string]any{"data_path": p.dir},
		"auth":    map[string]any{"root_password": password, "bcrypt_cost": 4, "jwt_secret": "secret-of-the-fault-lab-0123456789abcdef"},
		// Little is kept of the log, so that a server that was away needs snapshots, and segments turn over.
		"raft":   map[string]any{"log_segment_bytes": 4 << 20, "log_retention_entries": 500},
		"limits": map[string]any{"max_query_limit": 0, "default_query_limit": 0},
		"rate_limit": map[string]any{
			"max_queries_per_sec": 0, "max_requests_per_ip_per_sec": 0, "max_auth_requests_per_ip_per_sec": 0,
			"max_subscriptions_per_user": 0, "max_messages_per_sec": 0,
		},
		"cluster": map[string]any{
			"cluster_id": "lab", "node_id": p.number, "rpc_addr": rpc, "api_addr": p.api, "peers": peers,
			"heartbeat_interval_ms": 100, "election_timeout_ms": election, "reconnect_interval_ms": 250,
			"peer_wait_initial_delay_ms": 50, "peer_wait_max_delay_ms": 200,
		},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(p.config, text, 0o600)
}

// url is where clients reach the server.
func (p *process) url() string { return "http://" + p.api }

// start runs the server; it does not wait until it serves.
func (p *process) start() error {
	log, err := os.OpenFile(p.dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	command := exec.CommandContext(context.Background(), p.binary, "serve", "--config", p.config)
	command.Stdout, command.Stderr = log, log
	command.Env = []string{"HOME=" + os.Getenv("HOME"), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	if p.points != "" {
		command.Env = append(command.Env, "GOFAIL_HTTP="+p.points)
	}
	err = command.Start()
	_ = log.Close() // the process has its own descriptor
	if err != nil {
		return fmt.Errorf("start server %d: %w", p.number, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = command.Wait() // the state is read from the process
		close(ended)
	}()
	p.command, p.ended, p.paused, p.killed = command, ended, false, false
	return nil
}

func (p *process) running() bool {
	if p.command == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// end sends a signal and waits for the process.
func (p *process) end(signal syscall.Signal) error {
	if !p.running() {
		return nil
	}
	p.killed = true
	if p.paused {
		if err := p.resume(); err != nil {
			return err
		}
	}
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to server %d: %w", signal, p.number, err)
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("server %d has not ended %v after %v", p.number, patience, signal)
	}
}

func (p *process) pause() error {
	p.paused = true
	return p.command.Process.Signal(syscall.SIGSTOP)
}

func (p *process) resume() error {
	p.paused = false
	return p.command.Process.Signal(syscall.SIGCONT)
}

// ready is nil when the server says that it is.
func (p *process) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url()+"/readyz", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("server %d: %s: %s", p.number, answer.Status, body)
	}
	return nil
}

// startAll starts what does not run.
func (l *lab) startAll() error {
	for _, p := range l.servers {
		if !p.running() {
			if err := p.start(); err != nil {
				return err
			}
		}
	}
	return nil
}

// waitReady returns when every server is ready.
func (l *lab) waitReady() error {
	deadline := time.Now().Add(patience)
	ticker := time.NewTicker(25 * time.Millisecond)
	defer ticker.Stop()
	for _, p := range l.servers {
		for {
			err := p.ready(l.t.Context())
			if err == nil {
				break
			}
			if time.Now().After(deadline) || !p.running() {
				return fmt.Errorf("server %d is not ready after %v: %w\n%s", p.number, patience, err, p.logTail())
			}
			<-ticker.C
		}
	}
	return nil
}

// died tells of servers that ended by themselves.
func (l *lab) died() error {
	var dead []error
	for _, p := range l.servers {
		if !p.running() && !p.killed {
			dead = append(dead, fmt.Errorf("server %d ended by itself: %v\n%s", p.number, p.command.ProcessState, p.logTail()))
		}
	}
	return errors.Join(dead...)
}

func (p *process) logTail() string {
	text, err := os.ReadFile(p.dir + ".log")
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4096):])
}

// check verifies the files of every server, which must have ended, and whether servers that have applied the same
// entries have the same state.
func (l *lab) check() []string {
	var found []string
	first := map[string]server.CheckedGroup{}
	for _, p := range l.servers {
		out, err := exec.CommandContext(l.t.Context(), p.binary, "check", "--json", p.dir).Output()
		var report server.CheckReport
		if decodeErr := json.Unmarshal(out, &report); decodeErr != nil {
			found = append(found, fmt.Sprintf("server %d: kalamdb check: %v, %v", p.number, err, decodeErr))
			continue
		}
		for _, f := range report.Findings {
			if f.Damage {
				found = append(found, fmt.Sprintf("server %d: %+v", p.number, f))
			}
		}
		for _, g := range report.Groups {
			other, seen := first[g.Group]
			if !seen {
				first[g.Group] = g
			} else if g.Applied == other.Applied && (g.Digest != other.Digest || g.Keys != other.Keys) {
				found = append(found, fmt.Sprintf("%s at index %d: server %d has %d keys with digest %s, another one %d with %s",
					g.Group, g.Applied, p.number, g.Keys, g.Digest, other.Keys, other.Digest))
			}
		}
	}
	return found
}

func (l *lab) close() {
	for _, p := range l.servers {
		if p.running() {
			_ = p.command.Process.Kill() // it may end by itself at this moment
			<-p.ended
		}
	}
	l.wires.Close()
	if l.t.Failed() {
		l.t.Logf("data, logs and the report are kept in %s", l.dir)
		return
	}
	if err := os.RemoveAll(l.dir); err != nil {
		l.t.Error(err)
	}
}
