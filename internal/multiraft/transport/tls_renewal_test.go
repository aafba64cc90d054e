package transport

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// way is a network in which one address leads where the test says.
type way struct {
	mu   sync.Mutex
	to   string
	last net.Conn
}

func (w *way) dial(ctx context.Context, _ string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", w.to)
	w.last = conn
	return conn, err
}

// lead makes connections lead elsewhere, and breaks the one that there is.
func (w *way) lead(to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to = to
	if w.last != nil {
		_ = w.last.Close()
	}
}

// install puts the content of files in the place of those of another configuration.
func install(t *testing.T, to, from *TLSConfig) {
	t.Helper()
	for target, source := range map[string]string{to.CAFile: from.CAFile, to.CertFile: from.CertFile, to.KeyFile: from.KeyFile} {
		raw, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		// The time of the change may be the same as that of the content before; the size then tells them apart.
		if err := os.WriteFile(target, append(raw, "\n# renewed\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConnectionReadsTheFilesAgain: a connection that lives on, and is made again after the files have changed, trusts whom they name then,
// and nobody else, shows the certificate that they hold then, and goes on asking who is at the other end.
func TestConnectionReadsTheFilesAgain(t *testing.T) {
	t.Parallel()
	before, after := newAuthority(t), newAuthority(t)
	_, first := secureMember(t, before.issue(t, "first", "node-2", ""), 2, fixedResolver(""))
	// It trusts the new authority's nodes, so that whether it is served hangs on the client alone.
	_, withdrawn := secureMember(t, withAuthority(before.issue(t, "withdrawn", "node-2", ""), after), 2, fixedResolver(""))
	_, other := secureMember(t, after.issue(t, "other", "node-3", ""), 3, fixedResolver(""))
	_, renewed := secureMember(t, after.issue(t, "renewed", "node-2", ""), 2, fixedResolver(""))

	own := before.issue(t, "own", "node-1", "")
	own.CAFile = filepath.Join(t.TempDir(), "own-ca.pem") // the servers go on with theirs
	install(t, own, &TLSConfig{CAFile: filepath.Join(before.dir, "ca.pem"), CertFile: own.CertFile, KeyFile: own.KeyFile})
	road := &way{to: first}
	client, _ := serve(t, GRPCConfig{
		TLS: own, ClusterID: "prod", NodeOf: nodeOf, Dial: road.dial, BackoffBase: time.Millisecond, BackoffMax: time.Millisecond,
	}, &quietHandler{})
	conn, err := client.dial("127.0.0.1:1", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	call := func(opts ...grpc.CallOption) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // for one that waits in vain
		defer cancel()
		_, err := nodev1.NewNodeServiceClient(conn).GetNodeInfo(ctx, &nodev1.GetNodeInfoRequest{}, opts...)
		return err
	}
	// lead breaks the connection; the next call makes it again.
	lead := func(to string) {
		road.lead(to)
		for state := conn.GetState(); state == connectivity.Ready; state = conn.GetState() {
			conn.WaitForStateChange(t.Context(), state)
		}
	}
	if err := call(); err != nil {
		t.Fatalf("before the renewal: %v", err)
	}
	install(t, own, after.issue(t, "next", "node-1", ""))
	lead(withdrawn)
	if err := call(); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("a server of the authority that was withdrawn: %v", err)
	}
	lead(renewed)
	if err := call(grpc.WaitForReady(true)); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
	lead(other)
	if err := call(); err == nil || !strings.Contains(err.Error(), "replica 2 belongs to node 2") {
		t.Errorf("another node of the new authority: %v", err)
	}
}
