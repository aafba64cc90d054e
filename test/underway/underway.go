// Package underway sends requests that stop half way, so that a test knows of one that a node has begun to serve.
//
// The main type is Request. Statement returns when the node has asked for the body, of which it then has one byte: it is serving a request that
// cannot end before Finish sends the rest. It is no client for anything else: it speaks HTTP by hand, because a client of net/http tells nobody how
// far it has come, and it knows one endpoint.
//
// Only tests import it: those of a node in their own process, and those that start real ones.
package underway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// Request is a request of which all but the head and the first byte of the body is still to be sent. One goroutine may use it.
type Request struct {
	conn    net.Conn
	answers *bufio.Reader
	rest    []byte
}

// Statement sends the head of a statement for a node's SQL endpoint and the first byte of its JSON body, and returns when the node reads the body.
func Statement(ctx context.Context, addr, token string, body []byte) (*Request, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	r := &Request{conn: conn, answers: bufio.NewReader(conn), rest: body[1:]}
	if err := r.begin(addr, token, body); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return r, nil
}

func (r *Request) begin(addr, token string, body []byte) error {
	_, err := fmt.Fprintf(r.conn, "POST /v1/api/sql HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\n"+
		"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n%c", addr, token, len(body), body[0])
	if err != nil {
		return err
	}
	line, err := r.answers.ReadString('\n')
	if err != nil {
		return fmt.Errorf("a head is not answered: %w", err)
	}
	if !strings.Contains(line, "100 Continue") {
		return fmt.Errorf("a head is answered %q", line)
	}
	_, err = r.answers.ReadString('\n') // the empty line after it
	return err
}

// Finish sends the rest and returns the answer.
func (r *Request) Finish() (status int, answer []byte, err error) {
	if _, err = r.conn.Write(r.rest); err != nil {
		return 0, nil, err
	}
	response, err := http.ReadResponse(r.answers, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("a request that was under way is not answered: %w", err)
	}
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, errors.Join(err, response.Body.Close())
}

// Close ends the connection; the request need not be finished.
func (r *Request) Close() error { return r.conn.Close() }
