package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// sqlConnection is a client of one connection that costs as little as can be, for it shares the processors with the
// servers that are measured.
type sqlConnection struct {
	net.Conn
	head     string
	request  []byte
	in       []byte    // received and not used up
	deadline time.Time // of the connection; it is moved now and then, not for each request
}

// dialSQL connects to a server. With follow, answers to changes name the node that leads what is changed, when it is another one.
func dialSQL(ctx context.Context, api, token string, follow bool) (*sqlConnection, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", api)
	if err != nil {
		return nil, fmt.Errorf("connect to a server: %w", err)
	}
	asks := ""
	if follow {
		asks = "\r\nX-Follow-Leader: 1"
	}
	return &sqlConnection{
		Conn: conn, in: make([]byte, 0, 4<<10),
		head: "POST /v1/api/sql HTTP/1.1\r\nHost: " + api + "\r\nAuthorization: Bearer " + token + asks +
			"\r\nContent-Type: application/json\r\nContent-Length: ",
	}, nil
}

// compose makes the request of a body.
func (c *sqlConnection) compose(body string) []byte {
	c.request = append(c.request[:0], c.head...)
	c.request = strconv.AppendInt(c.request, int64(len(body)), 10)
	c.request = append(c.request, "\r\n\r\n"...)
	c.request = append(c.request, body...)
	return c.request
}

// ask sends a body and reads the answer, which must be a success. It returns the host and port of the leader that the answer names.
func (c *sqlConnection) ask(body string) (leader string, err error) {
	if now := time.Now(); c.deadline.Before(now.Add(startPatience)) {
		c.deadline = now.Add(2 * startPatience)
		if err = c.SetDeadline(c.deadline); err != nil {
			return "", fmt.Errorf("ask a server: %w", err)
		}
	}
	if _, err = c.Write(c.compose(body)); err != nil {
		return "", fmt.Errorf("ask a server: %w", err)
	}
	for {
		n, err := c.Read(c.room())
		if n == 0 {
			return "", fmt.Errorf("read an answer: %w", err)
		}
		answer, whole, err := c.take(n)
		if whole || err != nil {
			return answer.leader, err
		}
	}
}

// room is where the next bytes of an answer go.
func (c *sqlConnection) room() []byte {
	if len(c.in) == cap(c.in) {
		c.in = append(c.in, 0)[:len(c.in)]
	}
	return c.in[len(c.in):cap(c.in)]
}

// take takes so many bytes that were read into the room, and the answer that they complete. An answer that is no success is an error.
func (c *sqlConnection) take(n int) (answer sqlAnswer, whole bool, err error) {
	c.in = c.in[:len(c.in)+n]
	answer, size, err := cutAnswer(c.in)
	if err != nil {
		return sqlAnswer{}, false, fmt.Errorf("read an answer: %w", err)
	}
	if size == 0 {
		return sqlAnswer{}, false, nil
	}
	if size < len(c.in) {
		return sqlAnswer{}, false, fmt.Errorf("read an answer: %d bytes follow it", len(c.in)-size)
	}
	if answer.status != "200" {
		err = fmt.Errorf("%s: %s %s", c.request, answer.status, c.in[size-answer.length:])
	}
	c.in = c.in[:0]
	return answer, true, err
}

// sqlAnswer is what a client looks at of an answer.
type sqlAnswer struct {
	status string
	leader string // host:port that it names
	length int    // of the body
}

// cutAnswer reads the answer at the front of data. Its size is zero while it is not whole.
func cutAnswer(data []byte) (a sqlAnswer, size int, err error) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		return a, 0, nil
	}
	line, fields, _ := bytes.Cut(data[:end], []byte("\r\n"))
	_, rest, _ := bytes.Cut(line, []byte(" "))
	code, _, _ := bytes.Cut(rest, []byte(" "))
	if a.status = "200"; string(code) != a.status { // the usual one costs no memory
		a.status = string(code)
	}
	if a.status == "" {
		return a, 0, fmt.Errorf("a status line without a status: %q", line)
	}
	a.length = -1
	for len(fields) > 0 {
		line, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("X-Leader")):
			a.leader = strings.TrimPrefix(string(bytes.TrimSpace(value)), "http://")
		case bytes.EqualFold(name, []byte("Content-Length")):
			if a.length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return a, 0, err
			}
		}
	}
	if a.length < 0 {
		return a, 0, errors.New("an answer without Content-Length")
	}
	if size = end + len("\r\n\r\n") + a.length; size > len(data) {
		return a, 0, nil
	}
	return a, size, nil
}
