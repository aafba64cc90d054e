// Package certificate makes the certificates with which nodes know each other: one authority for a cluster,
// and for each node a certificate that names cluster and node.
//
// A node certificate serves for both sides of a connection. It carries the URI
// kalamdb://<cluster_id>/node/<node_id>, which package transport compares with the replica that a peer claims
// to be, and the names and addresses at which peers reach the node. Keys are ECDSA on P-256; everything is PEM.
//
// Nothing here is needed at run time: certificates may as well come from elsewhere, as long as they carry the
// URI or the common name node-<node_id>. The package is pure; only the kalamdb command uses it.
package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"
)

// Pair is a certificate and its key in PEM form.
type Pair struct {
	Cert []byte
	Key  []byte // a secret
}

// serialBits is the length of serial numbers; they are random.
const serialBits = 127

// backdate lets machines whose clocks are a little behind accept a new certificate.
const backdate = 5 * time.Minute

// NewAuthority makes an authority that signs node certificates and nothing else. The error is that of the
// source of randomness.
func NewAuthority(name string, now time.Time, validFor time.Duration) (Pair, error) {
	template, err := newTemplate(name, now, validFor)
	if err != nil {
		return Pair{}, err
	}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	return sign(template, nil, nil)
}

// Node says for whom a certificate is.
type Node struct {
	ClusterID string   // as in cluster.cluster_id
	NodeID    uint64   // as in cluster.node_id, at least 1
	Hosts     []string // names and addresses at which peers reach the node, without ports; at least one
}

// Issue makes a node's certificate. It fails when the authority cannot be read, is no authority, or ends
// before the certificate would, and when the cluster's id cannot stand in a URI.
func Issue(authority Pair, node Node, now time.Time, validFor time.Duration) (Pair, error) {
	issuer, key, err := open(authority)
	if err != nil {
		return Pair{}, err
	}
	switch {
	case node.NodeID == 0 || node.ClusterID == "":
		return Pair{}, errors.New("a node certificate needs the id of the cluster and the number of the node")
	case len(node.Hosts) == 0:
		return Pair{}, errors.New("a node certificate needs at least one name or address at which peers reach the node")
	case now.Add(validFor).After(issuer.NotAfter):
		return Pair{}, fmt.Errorf("the authority is valid until %s, which is before the certificate would end",
			issuer.NotAfter.Format(time.DateOnly))
	}
	name := fmt.Sprintf("node-%d", node.NodeID)
	template, err := newTemplate(name, now, validFor)
	if err != nil {
		return Pair{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.URIs = []*url.URL{{Scheme: "kalamdb", Host: node.ClusterID, Path: fmt.Sprintf("/node/%d", node.NodeID)}}
	template.DNSNames = []string{name}
	for _, host := range node.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if host != name {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	pair, err := sign(template, issuer, key)
	if err != nil {
		return Pair{}, err
	}
	return pair, check(pair, node)
}

// check reads a new certificate back: what cannot be read by peers must not leave here.
func check(pair Pair, node Node) error {
	block, _ := pem.Decode(pair.Cert)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("a certificate for node %d of cluster %q cannot be read back: %w", node.NodeID, node.ClusterID, err)
	}
	if len(cert.URIs) != 1 || cert.URIs[0].Host != node.ClusterID {
		return fmt.Errorf("the id of the cluster, %q, cannot stand in a certificate; use letters, digits, dots and dashes", node.ClusterID)
	}
	return nil
}

func newTemplate(name string, now time.Time, validFor time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(validFor),
	}, nil
}

// sign makes a key and a certificate for it; without an issuer it signs itself.
func sign(template, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make a key: %w", err)
	}
	if issuer == nil {
		issuer, issuerKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, issuerKey)
	if err != nil {
		return Pair{}, fmt.Errorf("sign a certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encode a key: %w", err)
	}
	return Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

// open reads an authority.
func open(authority Pair) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certBlock, _ := pem.Decode(authority.Cert)
	keyBlock, _ := pem.Decode(authority.Key)
	if certBlock == nil || keyBlock == nil {
		return nil, nil, errors.New("the authority is not in PEM form")
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("read the certificate of the authority: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("read the key of the authority: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	switch {
	case !ok:
		return nil, nil, fmt.Errorf("the key of the authority is a %T, want an ECDSA key", parsed)
	case !cert.IsCA:
		return nil, nil, errors.New("the certificate of the authority is not one of an authority")
	case !key.PublicKey.Equal(cert.PublicKey):
		return nil, nil, errors.New("key and certificate of the authority do not belong together")
	}
	return cert, key, nil
}
