package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// certify makes a node's certificate with the command line and configures the node to use it.
func (n *node) certify(t *testing.T, dir string, as int) {
	t.Helper()
	issue(t, dir, as)
	n.settings = n.settings.with(settings{
		"rpc_tls.enabled":             true,
		"rpc_tls.ca_cert":             filepath.Join(dir, "ca.crt"),
		"rpc_tls.server_cert":         filepath.Join(dir, fmt.Sprintf("node-%d.crt", as)),
		"rpc_tls.server_key":          filepath.Join(dir, fmt.Sprintf("node-%d.key", as)),
		"rpc_tls.require_client_cert": true,
	})
}

func issue(t *testing.T, dir string, node int) {
	t.Helper()
	code, _, stderr := command(t, "cert", "node", "--dir", dir, "--cluster", "e2e", "--node", strconv.Itoa(node), "--host", "127.0.0.1")
	if code != exitDone {
		t.Fatalf("certificate of node %d: %s", node, stderr)
	}
}

func newCertAuthority(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if code, _, stderr := command(t, "cert", "ca", "--dir", dir); code != exitDone {
		t.Fatalf("authority: %s", stderr)
	}
	if code, _, _ := command(t, "cert", "ca", "--dir", dir); code != exitUsage {
		t.Errorf("a second authority over the first: exit code %d", code)
	}
	return dir
}

// TestClusterOverMutualTLS runs three nodes that know each other by certificates alone, keeps strangers out,
// and renews the certificates under the running nodes.
func TestClusterOverMutualTLS(t *testing.T) {
	ours, theirs := newCertAuthority(t), newCertAuthority(t)
	c := prepareCluster(t, 3, nil)
	for _, n := range c.nodes {
		n.certify(t, ours, n.id)
	}
	c.start(t)
	root := c.nodes[0].root(t)
	createLedger(t, root, 2)
	l := openLedger(t, c, root, 2)
	l.write(t)
	l.waitFor(t, 20)

	stranger := func(id, as int, authority string) *node {
		t.Helper()
		n := newNode(t, c.nodes[0].dir, id)
		n.settings = n.settings.with(n.clusterSettings([]map[string]any{c.nodes[0].peer()})).with(settings{"cluster.join": true})
		n.certify(t, authority, as)
		n.start(t)
		return n
	}
	wantWaiting := func(n *node, why string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%v says why it is not let in", n), func() error {
			if err := n.ready(); err == nil || !strings.Contains(err.Error(), why) {
				return errors.Join(fmt.Errorf("want %q", why), err)
			}
			return nil
		})
		n.kill(t)
	}
	wantWaiting(stranger(4, 4, theirs), "certificate")
	wantWaiting(stranger(5, 2, ours), "cannot be used to join as node 5")
	plain := newNode(t, c.nodes[0].dir, 6)
	plain.settings = plain.settings.with(plain.clusterSettings([]map[string]any{c.nodes[0].peer()})).with(settings{"cluster.join": true})
	plain.start(t)
	wantWaiting(plain, "does not answer")
	if members := root.must(t, "SELECT node_id FROM system.cluster").rows(); len(members) != 3 {
		t.Errorf("members: %v", members)
	}

	for _, n := range c.nodes {
		issue(t, ours, n.id)
	}
	c.nodes[1].stop(t) // the others shake hands with it anew
	c.nodes[1].start(t)
	c.nodes[1].waitReady(t)
	if log := c.nodes[0].log(); !strings.Contains(log, "certificates were read again") {
		t.Errorf("%v has not noticed its new certificate:\n%s", c.nodes[0], log)
	}
	l.waitFor(t, 20)
	l.stop()
	l.wantAll(t, c.nodes)
}
