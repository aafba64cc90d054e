package steady

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	start = "POST /sql HTTP/1.1\r\n"
	usual = start + "Host: here:80\r\nContent-Length: 3\r\n"
)

func TestHead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		input string
		want  verdict
	}{
		"nothing":                    {"", partial},
		"the first letter":           {"P", partial},
		"another method":             {"PUT /sql HTTP/1.1\r\n", unusual},
		"HTTP/2":                     {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", unusual},
		"another path":               {"POST /sqls HTTP/1.1\r\n", unusual},
		"a query":                    {"POST /sql?a HTTP/1.1\r\n", unusual},
		"an earlier version":         {"POST /sql HTTP/1.0\r\n", unusual},
		"a head that goes on":        {usual, partial},
		"a body that goes on":        {usual + "\r\nab", partial},
		"whole":                      {usual + "\r\nabc", whole},
		"two":                        {usual + "\r\nabc" + usual + "\r\nabc", whole},
		"no body":                    {start + "Host: here\r\nContent-Length: 0\r\n\r\n", whole},
		"names in small letters":     {start + "host: here\r\ncontent-length: 3\r\n\r\nabc", whole},
		"spaces around a value":      {start + "Host: \there \r\nContent-Length:3\r\n\r\nabc", whole},
		"a space before the colon":   {usual + "Accept : a\r\n\r\nabc", unusual},
		"a line that goes on":        {usual + "Accept: a\r\n b\r\n\r\nabc", unusual},
		"a bare line feed":           {usual + "Accept: a\nExpect: b\r\n\r\nabc", unusual},
		"a bare line feed so far":    {usual + "Accept: a\n", unusual},
		"bare line feeds at the end": {start + "Host: here\r\nContent-Length: 3\n\nabc", unusual},
		"half a line end":            {usual + "Accept: a\r", partial},
		"no colon":                   {usual + "Accept\r\n\r\nabc", unusual},
		"a field that is not listed": {usual + "Origin: a\r\n\r\nabc", unusual},
		"chunks":                     {usual + "Transfer-Encoding: chunked\r\n\r\nabc", unusual},
		"a field twice":              {usual + "Accept: a\r\naccept: b\r\n\r\nabc", unusual},
		"two lengths":                {usual + "Content-Length: 3\r\n\r\nabc", unusual},
		"the host twice":             {usual + "Host: here\r\n\r\nabc", unusual},
		"no host":                    {start + "Content-Length: 3\r\n\r\nabc", unusual},
		"a host with a path":         {start + "Host: here/there\r\nContent-Length: 3\r\n\r\nabc", unusual},
		"no fields":                  {start + "\r\n", unusual},
		"no length":                  {start + "Host: here\r\n\r\n", unusual},
		"a signed length":            {start + "Host: here\r\nContent-Length: +3\r\n\r\nabc", unusual},
		"a list of lengths":          {start + "Host: here\r\nContent-Length: 3, 3\r\n\r\nabc", unusual},
		"the longest body":           {start + "Host: here\r\nContent-Length: 65536\r\n\r\nabc", partial},
		"a longer body":              {start + "Host: here\r\nContent-Length: 65537\r\n\r\nabc", unusual},
		"a control character":        {usual + "Accept: a\x00b\r\n\r\nabc", unusual},
		"another alphabet":           {usual + "Accept: \xc3\xa4\r\n\r\nabc", unusual},
		"a connection that is kept":  {usual + "Connection: Keep-Alive\r\n\r\nabc", whole},
		"a connection that ends":     {usual + "Connection: close\r\n\r\nabc", unusual},
		"the longest head":           {usual + "Accept: " + strings.Repeat("a", maxHeadBytes-len(usual)-12) + "\r\n\r\nabc", whole},
		"a longer head":              {usual + "Accept: " + strings.Repeat("a", maxHeadBytes-len(usual)-11) + "\r\n\r\nabc", unusual},
		"a long name":                {usual + strings.Repeat("a", 100) + ": a\r\n\r\nabc", unusual},
	} {
		var h head
		if got := h.read([]byte(c.input), start); got != c.want {
			t.Errorf("%s: verdict %d, want %d", name, got, c.want)
		}
		if c.want == whole {
			agrees(t, []byte(c.input), &h)
		}
	}
}

// TestHeadIsReadAgain: what a head says must not outlive it.
func TestHeadIsReadAgain(t *testing.T) {
	t.Parallel()
	var h head
	for _, c := range []struct {
		input, accept string
		length        int
		want          verdict
	}{
		{usual + "Accept: a\r\n\r\nabc", "a", 3, whole},
		{usual + "Accept: a\r\n\r\nxyz" + start, "a", 3, whole},
		{usual + "Accept: a\r\n\r\nxy", "a", 3, partial},
		{start + "Host: here:80\r\nContent-Length: 1\r\nAccept: b\r\n\r\nx", "b", 1, whole},
		{usual + "\r\nabc", "", 3, whole},
		{usual + "Accept: a\r\n\r\nabc", "a", 3, whole},
	} {
		if got := h.read([]byte(c.input), start); got != c.want || h.header.Get("Accept") != c.accept || h.length != c.length {
			t.Errorf("%q: verdict %d, %v, length %d", c.input, got, h.header, h.length)
		}
	}
}

// agrees compares what was read with what net/http reads, and what both leave.
func agrees(t *testing.T, input []byte, h *head) {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(input))
	r, err := http.ReadRequest(in)
	if err != nil {
		t.Errorf("%q: net/http: %v", input, err)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Errorf("%q: net/http, body: %v", input, err)
	}
	if rest, err := io.ReadAll(in); err != nil || !bytes.Equal(rest, input[len(h.raw)+h.length:]) {
		t.Errorf("%q: net/http leaves %q, %v", input, rest, err)
	}
	ours := input[len(h.raw) : len(h.raw)+h.length]
	if r.Method != http.MethodPost || r.RequestURI != "/sql" || r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.Close ||
		r.Host != h.host || r.ContentLength != int64(h.length) || len(r.TransferEncoding) > 0 || !bytes.Equal(body, ours) {
		t.Errorf("%q: net/http reads %+v with the body %q, here %+v and %q", input, r, body, h, ours)
	}
	if diff := cmp.Diff(r.Header, h.header); diff != "" {
		t.Errorf("%q (-net/http +here):\n%s", input, diff)
	}
}

// FuzzHead: what is served here is to net/http the same request.
func FuzzHead(f *testing.F) {
	f.Add([]byte(usual + "\r\nabc"))
	f.Add([]byte(usual + "Accept: a\r\nIdempotency-Key: b\r\n\r\nabc" + usual))
	f.Add([]byte(start + "host:a\r\ncontent-length:0\r\nConnection: keep-alive\r\n\r\n"))
	f.Add([]byte(usual + "\r\nabc" + usual + "\r\nxyz" + start + "Host: b\r\nContent-Length: 1\r\nAccept: c\r\n\r\nd" + usual + "\r\nabc"))
	f.Add([]byte(start + "Host: a\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Add([]byte(start + "Host: a\r\nContent-Length: 001\n\r\nAccept : b\r\n c\r\n\r\nd"))
	f.Fuzz(func(t *testing.T, input []byte) {
		// All requests of a connection, since what was read of one is used for the next.
		for h := (head{}); h.read(input, start) == whole; input = input[len(h.raw)+h.length:] {
			agrees(t, input, &h)
		}
	})
}
