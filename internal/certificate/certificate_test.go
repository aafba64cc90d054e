package certificate_test

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/certificate"
)

const year = 365 * 24 * time.Hour

func authority(t *testing.T) certificate.Pair {
	t.Helper()
	pair, err := certificate.NewAuthority("test", time.Now(), year)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	good, other := authority(t), authority(t)
	node := certificate.Node{ClusterID: "prod", NodeID: 1, Hosts: []string{"10.0.0.1"}}
	leaf, err := certificate.Issue(good, node, time.Now(), year/2)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		authority certificate.Pair
		node      certificate.Node
		validFor  time.Duration
		want      string
	}{
		"no PEM":                    {certificate.Pair{Cert: []byte("x")}, node, year / 2, "PEM"},
		"another key":               {certificate.Pair{Cert: good.Cert, Key: other.Key}, node, year / 2, "do not belong together"},
		"no authority":              {leaf, node, year / 4, "not one of an authority"},
		"longer than the authority": {good, node, 2 * year, "valid until"},
		"no node":                   {good, certificate.Node{ClusterID: "prod", Hosts: node.Hosts}, year / 2, "number of the node"},
		"no cluster":                {good, certificate.Node{NodeID: 1, Hosts: node.Hosts}, year / 2, "id of the cluster"},
		"no host":                   {good, certificate.Node{ClusterID: "prod", NodeID: 1}, year / 2, "at least one name"},
		"a cluster id with a space": {good, certificate.Node{ClusterID: "my prod", NodeID: 1, Hosts: node.Hosts}, year / 2, "my prod"},
	} {
		if _, err := certificate.Issue(test.authority, test.node, time.Now(), test.validFor); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, test.want)
		}
	}
}

func TestIssuedCertificateNamesItsNode(t *testing.T) {
	t.Parallel()
	ca := authority(t)
	pair, err := certificate.Issue(ca, certificate.Node{
		ClusterID: "prod", NodeID: 7, Hosts: []string{"10.0.0.7", "::1", "seven.example.org"},
	}, time.Now(), year/2)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(pair.Cert)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.Cert)
	for _, host := range []string{"10.0.0.7", "::1", "seven.example.org", "node-7"} {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if _, err := cert.Verify(x509.VerifyOptions{DNSName: host, Roots: pool, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Errorf("%s: %v", host, err)
			}
		}
	}
	var uris []string
	for _, uri := range cert.URIs {
		uris = append(uris, uri.String())
	}
	if diff := cmp.Diff([]string{"kalamdb://prod/node/7"}, uris); diff != "" || cert.Subject.CommonName != "node-7" || cert.IsCA {
		t.Errorf("common name %q, authority %t, URIs:\n%s", cert.Subject.CommonName, cert.IsCA, diff)
	}
	another := x509.NewCertPool()
	another.AppendCertsFromPEM(authority(t).Cert)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: another}); err == nil {
		t.Error("another authority vouches for it")
	}
}
