package bench

import (
	"bytes"
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
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/kalamdb/kalamdb-go/internal/loopback"
)

const (
	failoverGroup    = 200 // the group of shared tables
	failoverPassword = "a password of the bench"
	startPatience    = 60 * time.Second
)

// serverCluster is three servers, each a process of this program, that reach each other through wires.
type serverCluster struct {
	program string
	dir     string
	servers []*server
	wires   *loopback.Wires
	token   string
	http    http.Client
}

// server is one process.
type server struct {
	program, config, log string
	api                  string
	process              *exec.Cmd
	ended                chan struct{}
}

// startServers starts the cluster and makes the table.
func startServers(ctx context.Context, o FailoverOptions) (*serverCluster, error) {
	c, err := newServerCluster("kalamdb-failover-", o.Clients)
	if err != nil {
		return nil, err
	}
	// A client that is not answered within the longest election asks another node.
	c.http.Timeout = time.Duration(o.ElectionMillis[1]) * time.Millisecond
	if err := c.start(ctx, o); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// newServerCluster is a cluster whose servers are still to be started, with clients that keep so many connections to each.
func newServerCluster(name string, connections int) (*serverCluster, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	dir, err := os.MkdirTemp("", name)
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	c := &serverCluster{program: program, dir: dir, wires: loopback.NewWires()}
	c.http.Transport = &http.Transport{MaxIdleConnsPerHost: connections}
	return c, nil
}

func (c *serverCluster) start(ctx context.Context, o FailoverOptions) error {
	addresses, err := loopback.Addresses(ctx, 2*nodes)
	if err != nil {
		return err
	}
	rpc, api := addresses[:nodes], addresses[nodes:]
	for i := range nodes {
		var peers []map[string]any
		for j := range nodes {
			addr := rpc[j]
			if i != j {
				if addr, err = c.wires.Lay(ctx, i, j, rpc[j]); err != nil {
					return err
				}
			}
			peers = append(peers, map[string]any{"node_id": j + 1, "rpc_addr": addr, "api_addr": api[j]})
		}
		if err := c.add(ctx, rpc[i], api[i], peers, o); err != nil {
			return err
		}
	}
	return c.prepare(ctx, []string{"CREATE NAMESPACE bench", "CREATE TABLE bench.failover (id BIGINT PRIMARY KEY) WITH (TYPE = 'SHARED')"})
}

// add starts the next server.
func (c *serverCluster) add(ctx context.Context, rpc, api string, peers []map[string]any, o FailoverOptions) error {
	id := len(c.servers) + 1
	dir := filepath.Join(c.dir, strconv.Itoa(id))
	s := &server{program: c.program, config: dir + ".toml", log: dir + ".log", api: api}
	c.servers = append(c.servers, s)
	if err := writeServerConfig(s, dir, id, rpc, peers, o); err != nil {
		return err
	}
	return s.start(ctx)
}

// prepare waits until all servers are ready, signs in, and runs statements.
func (c *serverCluster) prepare(ctx context.Context, statements []string) error {
	if err := c.ready(ctx); err != nil {
		return err
	}
	if err := c.login(ctx); err != nil {
		return err
	}
	for _, statement := range statements {
		if _, err := c.sql(ctx, c.servers[0], statement); err != nil {
			return err
		}
	}
	return nil
}

func writeServerConfig(s *server, dir string, id int, rpc string, peers []map[string]any, o FailoverOptions) error {
	host, port, err := net.SplitHostPort(s.api)
	if err != nil {
		return err
	}
	number, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", port)
	if err != nil {
		return err
	}
	settings := map[string]any{
		"server":  map[string]any{"host": host, "port": number},
		"storage": map[string]any{"data_path": dir},
		"auth":    map[string]any{"root_password": failoverPassword, "bcrypt_cost": 4},
		"rate_limit": map[string]any{
			"max_queries_per_sec": 0, "max_requests_per_ip_per_sec": 0, "max_auth_requests_per_ip_per_sec": 0,
			"max_subscriptions_per_user": 0, "max_messages_per_sec": 0,
		},
	}
	if o.gcPercent > 0 {
		settings["performance"] = map[string]any{"gc_percent": o.gcPercent}
	}
	if len(peers) > 0 {
		settings["cluster"] = map[string]any{
			"cluster_id": "bench", "node_id": id, "rpc_addr": rpc, "api_addr": s.api, "peers": peers,
			"heartbeat_interval_ms": o.HeartbeatMillis, "election_timeout_ms": o.ElectionMillis,
			"reconnect_interval_ms": 250,
		}
	}
	text, err := toml.Marshal(settings)
	if err != nil {
		return fmt.Errorf("write a configuration: %w", err)
	}
	return os.WriteFile(s.config, text, 0o600)
}

// start runs the server; ready says when it serves.
func (s *server) start(ctx context.Context) error {
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start a server: %w", err)
	}
	s.process = exec.CommandContext(ctx, s.program, "serve", "--config", s.config) //nolint:gosec // this very program
	s.process.Stdout, s.process.Stderr = log, log
	err = s.process.Start()
	// The process has its own descriptor.
	_ = log.Close()
	if err != nil {
		s.process = nil
		return fmt.Errorf("start a server: %w", err)
	}
	ended, process := make(chan struct{}), s.process
	go func() {
		_ = process.Wait() // servers are killed; the state is of no interest
		close(ended)
	}()
	s.ended = ended
	return nil
}

// kill ends the process if it runs.
func (s *server) kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill() // it may have ended
	<-s.ended
}

// ready returns once every server says that it is.
func (c *serverCluster) ready(ctx context.Context) error {
	deadline := time.Now().Add(startPatience)
	for _, s := range c.servers {
		for {
			err := c.get(ctx, "http://"+s.api+"/readyz")
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				log, _ := os.ReadFile(s.log) // only shown
				return fmt.Errorf("a server is not ready after %v: %w\n%s", startPatience, err, log[max(0, len(log)-2048):])
			}
			if err := rest(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *serverCluster) get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", answer.Status, body)
	}
	return nil
}

func (c *serverCluster) login(ctx context.Context) error {
	status, body, err := c.post(ctx, c.servers[0], "/v1/api/auth/login", map[string]string{"user": "root", "password": failoverPassword})
	if err != nil {
		return err
	}
	var grant struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &grant); err != nil || grant.AccessToken == "" {
		return fmt.Errorf("sign in: %d %s", status, body)
	}
	c.token = grant.AccessToken
	return nil
}

func (c *serverCluster) post(ctx context.Context, s *server, path string, body any) (status int, answer []byte, err error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.api+path, bytes.NewReader(encoded))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, errors.Join(err, response.Body.Close())
}

// sql runs a statement at a server and returns its rows.
func (c *serverCluster) sql(ctx context.Context, s *server, statement string) ([][]any, error) {
	status, body, err := c.post(ctx, s, "/v1/api/sql", map[string]string{"sql": statement})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Results []struct {
			Rows [][]any `json:"rows"`
		} `json:"results"`
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("%s: %d %s", statement, status, body)
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Results) != 1 {
		return nil, fmt.Errorf("%s: %s", statement, body)
	}
	return answer.Results[0].Rows, nil
}

// leader finds the server that leads the table's group.
func (c *serverCluster) leader(ctx context.Context) (int, error) {
	for range 100 {
		for i, s := range c.servers {
			rows, err := c.sql(ctx, s, fmt.Sprintf(
				"SELECT state FROM system.cluster_groups WHERE group_id = %d AND node_id = %d", failoverGroup, i+1))
			if err == nil && len(rows) == 1 && rows[0][0] == "leader" {
				return i, nil
			}
		}
		if err := rest(ctx, 50*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, errors.New("no server leads the table's group")
}
