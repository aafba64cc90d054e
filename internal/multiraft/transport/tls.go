package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc/credentials"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// TLSConfig names the files that secure the connections between nodes. All are PEM. They are read again
// when they change; connections that exist are kept.
type TLSConfig struct {
	// CAFile holds the authorities that sign the certificates of all nodes.
	CAFile string
	// CertFile and KeyFile are this node's certificate and key, used as server and as client. The
	// certificate is valid for the host of this node's address and names the node, either by the URI
	// kalamdb://<cluster_id>/node/<node_id> or by the common name node-<node_id>.
	CertFile, KeyFile string
	// RequireClientCert refuses peers without a certificate, and compares the certificates of both sides
	// with the replicas they claim.
	RequireClientCert bool
}

// tlsSetup is a TLSConfig in use.
type tlsSetup struct {
	files     *tlsFiles
	server    *tls.Config
	mutual    bool
	clusterID string
	nodeOf    func(ident.ReplicaID) (ident.NodeID, bool)
}

func loadTLS(cfg GRPCConfig) (*tlsSetup, error) {
	if cfg.TLS == nil {
		return nil, nil
	}
	files, err := openTLSFiles(*cfg.TLS, cfg.Logger)
	if err != nil {
		return nil, err
	}
	setup := &tlsSetup{files: files, mutual: cfg.TLS.RequireClientCert, clusterID: cfg.ClusterID, nodeOf: cfg.NodeOf}
	setup.server = &tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return setup.forConnection(), nil },
	}
	return setup, nil
}

// forConnection returns the configuration of one accepted connection, with the files as they are now.
func (s *tlsSetup) forConnection() *tls.Config {
	pair, pool := s.files.current()
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*pair}, NextProtos: []string{"h2"}}
	if s.mutual {
		cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, pool
	}
	return cfg
}

// clientFor returns the configuration of one connection to a replica, with the files as they are now; zero means that only the address
// is known.
func (s *tlsSetup) clientFor(replica ident.ReplicaID) *tls.Config {
	pair, pool := s.files.current()
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool,
		// Whatever the server says that it accepts: it is to say what is wrong with the certificate, and not that there is none.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil },
	}
	if s.mutual && replica != 0 {
		cfg.VerifyConnection = func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("the server showed no certificate")
			}
			return s.checkPeer(state.PeerCertificates[0], replica)
		}
	}
	return cfg
}

// connects returns the credentials of connections to a replica. gRPC may connect again with them much later.
func (s *tlsSetup) connects(replica ident.ReplicaID) credentials.TransportCredentials {
	return &freshTLS{TransportCredentials: credentials.NewTLS(s.clientFor(replica)), setup: s, replica: replica}
}

// freshTLS looks at the files at every handshake: an authority that was taken out since the last one is not to be trusted any more.
type freshTLS struct {
	credentials.TransportCredentials // says what they are; it shakes no hands
	setup                            *tlsSetup
	replica                          ident.ReplicaID
}

// ClientHandshake implements credentials.TransportCredentials.
func (f *freshTLS) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(f.setup.clientFor(f.replica)).ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials.
func (f *freshTLS) Clone() credentials.TransportCredentials {
	return &freshTLS{TransportCredentials: f.TransportCredentials.Clone(), setup: f.setup, replica: f.replica}
}

// checkPeer compares a verified certificate with the replica it speaks for. A replica that this node has
// not heard of yet passes with any certificate of a node of this cluster: a node that was away must be able to
// hear from a member admitted meanwhile, or it could never learn of it.
func (s *tlsSetup) checkPeer(cert *x509.Certificate, replica ident.ReplicaID) error {
	node, err := certificateNode(cert, s.clusterID)
	if err != nil {
		return err
	}
	if want, known := s.nodeOf(replica); known && want != node {
		return fmt.Errorf("certificate is of node %d, but replica %d belongs to node %d", node, replica, want)
	}
	return nil
}

// certificateNode returns the node that a certificate names. A kalamdb URI wins over the common name.
func certificateNode(cert *x509.Certificate, clusterID string) (ident.NodeID, error) {
	for _, uri := range cert.URIs {
		if uri.Scheme != "kalamdb" {
			continue
		}
		return uriNode(uri, clusterID)
	}
	number, ok := strings.CutPrefix(cert.Subject.CommonName, "node-")
	if !ok {
		return 0, errors.New("certificate names no node: want the URI kalamdb://<cluster_id>/node/<node_id> or the common name node-<node_id>")
	}
	return parseNode(number)
}

func uriNode(uri *url.URL, clusterID string) (ident.NodeID, error) {
	if uri.Host != clusterID {
		return 0, fmt.Errorf("certificate is of cluster %q, this is %q", uri.Host, clusterID)
	}
	number, ok := strings.CutPrefix(uri.Path, "/node/")
	if !ok {
		return 0, fmt.Errorf("certificate URI %q: want kalamdb://<cluster_id>/node/<node_id>", uri)
	}
	return parseNode(number)
}

func parseNode(text string) (ident.NodeID, error) {
	node, err := strconv.ParseUint(text, 10, 64)
	if err != nil || node == 0 {
		return 0, fmt.Errorf("certificate names node %q: want a number from 1", text)
	}
	return ident.NodeID(node), nil
}

// CheckPlaintextAddress refuses to listen without TLS on an address that others than this machine can
// reach, unless the operator insists. addr is host:port; an empty host means every interface.
func CheckPlaintextAddress(addr string, allowInsecure bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("listen address %q: %w", addr, err)
	}
	if allowInsecure || host == "localhost" {
		return nil
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("listen address %q is reachable from other machines and TLS is off: "+
		"configure certificates, listen on loopback, or allow insecure listening on purpose", addr)
}
