package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// authority signs certificates for one test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	var der []byte
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key); err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(a.dir, "ca.pem"), "CERTIFICATE", der)
	return a
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue makes a certificate for loopback and returns the configuration that uses it.
func (a *authority) issue(t *testing.T, name, commonName, uri string) *TLSConfig {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: commonName}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if uri != "" {
		parsed, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = []*url.URL{parsed}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &TLSConfig{
		CAFile: filepath.Join(a.dir, "ca.pem"), CertFile: filepath.Join(a.dir, name+".pem"),
		KeyFile: filepath.Join(a.dir, name+".key"), RequireClientCert: true,
	}
	writePEM(t, cfg.CertFile, "CERTIFICATE", der)
	writePEM(t, cfg.KeyFile, "EC PRIVATE KEY", keyDER)
	return cfg
}

// nodeOf knows that replica r belongs to node r, for the first five.
func nodeOf(replica ident.ReplicaID) (ident.NodeID, bool) {
	return ident.NodeID(replica), replica >= 1 && replica <= 5
}

// secureMember serves a member with a certificate and mutual TLS.
func secureMember(t *testing.T, cert *TLSConfig, replica ident.ReplicaID, resolver Resolver) (*GRPC, string) {
	t.Helper()
	node, addr := serve(t, GRPCConfig{
		TLS: cert, ClusterID: "prod", NodeOf: nodeOf, Resolver: resolver, BackoffBase: time.Millisecond, BackoffMax: time.Millisecond,
	}, &quietHandler{})
	node.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: replica})
	return node, addr
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	_, addr := secureMember(t, ours.issue(t, "server", "node-2", ""), 2, fixedResolver(""))
	for name, c := range map[string]struct {
		cert    *TLSConfig
		replica ident.ReplicaID // as which it speaks
		to      ident.ReplicaID // whom it believes to reach
		allowed bool
		want    string
	}{
		"common name":             {ours.issue(t, "cn", "node-1", ""), 1, 2, true, ""},
		"uri":                     {ours.issue(t, "uri", "whatever", "kalamdb://prod/node/1"), 1, 2, true, ""},
		"a replica not known yet": {ours.issue(t, "new", "node-9", ""), 77, 2, true, ""},
		"another node's replica":  {ours.issue(t, "thief", "node-3", ""), 1, 2, false, "replica 1 belongs to node 1"},
		"uri beats common name":   {ours.issue(t, "two", "node-1", "kalamdb://prod/node/3"), 1, 2, false, "certificate is of node 3"},
		"another cluster's uri":   {ours.issue(t, "far", "node-1", "kalamdb://test/node/1"), 1, 2, false, `certificate is of cluster "test"`},
		"a uri without node":      {ours.issue(t, "odd", "node-1", "kalamdb://prod/nodes/1"), 1, 2, false, "want kalamdb://"},
		"node zero":               {ours.issue(t, "zero", "node-0", ""), 1, 2, false, `names node "0"`},
		"no node":                 {ours.issue(t, "client", "alice", ""), 1, 2, false, "certificate names no node"},
		"another authority":       {withAuthority(theirs.issue(t, "stranger", "node-1", ""), ours), 1, 2, false, ""},
		"the server is another":   {ours.issue(t, "sure", "node-1", ""), 1, 4, false, "replica 4 belongs to node 4"},
	} {
		node, _ := secureMember(t, c.cert, c.replica, fixedResolver(addr))
		_, err := node.Forward(t.Context(), c.to, &nodev1.ForwardRequest{})
		if c.allowed != (err == nil) {
			t.Errorf("%s: Forward = %v, want allowed %t", name, err, c.allowed)
		}
		if !c.allowed && c.want != "" && (err == nil || !errors.Is(err, ErrNotDelivered) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: Forward = %v, want ErrNotDelivered and %q", name, err, c.want)
		}
	}
}

// withAuthority trusts another authority than the one that signed the certificate.
func withAuthority(cfg *TLSConfig, trusted *authority) *TLSConfig {
	cfg.CAFile = filepath.Join(trusted.dir, "ca.pem")
	return cfg
}

func TestPlaintextPeerIsNotServedOverTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	_, addr := secureMember(t, ca.issue(t, "server", "node-2", ""), 2, fixedResolver(""))
	node, _ := serve(t, GRPCConfig{Resolver: fixedResolver(addr)}, &quietHandler{})
	node.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 1})
	if _, err := node.Forward(t.Context(), 2, &nodev1.ForwardRequest{}); err == nil {
		t.Error("a plaintext peer was served")
	}
	if _, err := node.NodeInfo(t.Context(), addr, &nodev1.GetNodeInfoRequest{}); err == nil {
		t.Error("a plaintext stranger was served")
	}
	// Strangers with a certificate of the cluster are.
	joiner, _ := serve(t, GRPCConfig{
		TLS: ca.issue(t, "joiner", "node-3", ""), NodeOf: nodeOf, ClusterID: "prod", Resolver: fixedResolver(addr),
	}, &quietHandler{})
	if _, err := joiner.Join(t.Context(), addr, &nodev1.JoinRequest{NodeId: 3}); err != nil {
		t.Errorf("Join with a certificate = %v", err)
	}
	if _, err := joiner.Join(t.Context(), addr, &nodev1.JoinRequest{NodeId: 4}); err == nil || !strings.Contains(err.Error(), "join as node 4") {
		t.Errorf("Join as node 4 with the certificate of node 3 = %v", err)
	}
}

func TestLoadTLSRefuses(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	good := ca.issue(t, "good", "node-1", "")
	garbage := filepath.Join(ca.dir, "garbage.pem")
	if err := os.WriteFile(garbage, []byte("no PEM at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*TLSConfig){
		"no authority":   func(c *TLSConfig) { c.CAFile = garbage },
		"no certificate": func(c *TLSConfig) { c.CertFile = garbage },
		"missing key":    func(c *TLSConfig) { c.KeyFile = filepath.Join(ca.dir, "nowhere") },
		"another key":    func(c *TLSConfig) { c.KeyFile = ca.issue(t, "other", "node-2", "").KeyFile },
	} {
		cfg := *good
		change(&cfg)
		if _, err := loadTLS(GRPCConfig{TLS: &cfg}); err == nil {
			t.Errorf("%s: the configuration was accepted", name)
		}
	}
}

func TestCertificatesAreReadAgain(t *testing.T) {
	t.Parallel()
	before, after := newAuthority(t), newAuthority(t)
	// Both sides read their files from one place, which is renewed under them.
	cert := before.issue(t, "renewed", "node-2", "")
	_, addr := secureMember(t, cert, 2, fixedResolver(""))
	call := func(cert *TLSConfig) error {
		node, _ := secureMember(t, cert, 1, fixedResolver(addr))
		_, err := node.Forward(t.Context(), 2, &nodev1.ForwardRequest{})
		return err
	}
	if err := call(before.issue(t, "one", "node-1", "")); err != nil {
		t.Fatalf("before the renewal: %v", err)
	}
	stranger := after.issue(t, "one", "node-1", "")
	if err := call(stranger); err == nil {
		t.Fatal("a certificate of another authority was accepted")
	}

	if err := os.WriteFile(cert.CertFile, []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := call(before.issue(t, "one", "node-1", "")); err != nil {
		t.Fatalf("with a broken file the former certificate serves: %v", err)
	}

	renewed := after.issue(t, "renewed", "node-2", "")
	for from, to := range map[string]string{
		renewed.CAFile: cert.CAFile, renewed.CertFile: cert.CertFile, renewed.KeyFile: cert.KeyFile,
	} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	stranger.CAFile = cert.CAFile
	if err := call(stranger); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
	old := before.issue(t, "old", "node-1", "") // its authority's file is the new one by now
	if err := call(old); err == nil {
		t.Error("a certificate of the former authority is still accepted")
	}
}
