package transport

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// FuzzParseLane checks that a lane prints as it is written, and that nothing else is one.
func FuzzParseLane(f *testing.F) {
	f.Add("control")
	f.Add("bulk")
	f.Add("unknown")
	f.Fuzz(func(t *testing.T, text string) {
		lane, err := parseLane(text)
		if err == nil && lane.String() != text {
			t.Fatalf("%q is the lane %s", text, lane)
		}
	})
}

// FuzzParseNode checks that a certificate names no node, or the node whose number it spells, and that of no other cluster.
func FuzzParseNode(f *testing.F) {
	f.Add("node-1", "kalamdb://here/node/1")
	f.Add("node-0", "kalamdb://there/node/2")
	f.Add("node-18446744073709551616", "kalamdb://here/node/+1")
	f.Add("1", "spiffe://here/node/1")
	f.Fuzz(func(t *testing.T, common, text string) {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: common}}
		uri, err := url.Parse(text)
		if err == nil {
			cert.URIs = []*url.URL{uri}
		}
		node, err := certificateNode(cert, "here")
		if err != nil {
			return
		}
		if node == 0 {
			t.Fatalf("%q, %q: no node and no error", common, text)
		}
		if uri != nil && uri.Scheme == "kalamdb" && uri.Host != "here" {
			t.Fatalf("%q is of another cluster and names node %d", text, node)
		}
		if uri == nil || uri.Scheme != "kalamdb" {
			if number, err := strconv.ParseUint(strings.TrimPrefix(common, "node-"), 10, 64); err != nil || number != uint64(node) {
				t.Fatalf("%q names node %d", common, node)
			}
		}
	})
}
