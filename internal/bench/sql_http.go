package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// sqlRows is the number of rows that point reads find.
const sqlRows = 10_000

// fillRows makes the table of the HTTP cases.
func (c *serverCluster) fillRows(ctx context.Context) error {
	const perStatement = 1000
	if _, err := c.sql(ctx, c.servers[0], "CREATE TABLE bench.rows (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE = 'SHARED')"); err != nil {
		return err
	}
	for first := 0; first < sqlRows; first += perStatement {
		values := make([]string, perStatement)
		for i := range values {
			values[i] = fmt.Sprintf("(%d, 'the body of row %d')", first+i, first+i)
		}
		if _, err := c.sql(ctx, c.servers[0], "INSERT INTO bench.rows VALUES "+strings.Join(values, ", ")); err != nil {
			return err
		}
	}
	return nil
}

// cpuByServer is the processor time of each server.
func (c *serverCluster) cpuByServer() []time.Duration {
	spent := make([]time.Duration, len(c.servers))
	for i, s := range c.servers {
		spent[i] = processTime(s.process.Process.Pid)
	}
	return spent
}

// cpu is the processor time of all servers.
func (c *serverCluster) cpu() time.Duration {
	total := time.Duration(0)
	for _, spent := range c.cpuByServer() {
		total += spent
	}
	return total
}

// sqlConnection is a client of one connection that costs as little as can be, for it shares the processors with the
// servers that are measured.
type sqlConnection struct {
	net.Conn
	in       *bufio.Reader
	head     string
	request  []byte
	leader   string    // host:port that an answer named
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
		Conn: conn, in: bufio.NewReader(conn),
		head: "POST /v1/api/sql HTTP/1.1\r\nHost: " + api + "\r\nAuthorization: Bearer " + token + asks +
			"\r\nContent-Type: application/json\r\nContent-Length: ",
	}, nil
}

func (c *sqlConnection) close() error {
	if c == nil {
		return nil
	}
	return c.Close()
}

// ask sends a body and reads the answer, which must be a success. It returns the host and port of the leader that the answer names.
func (c *sqlConnection) ask(body string) (leader string, err error) {
	c.request = append(c.request[:0], c.head...)
	c.request = strconv.AppendInt(c.request, int64(len(body)), 10)
	c.request = append(c.request, "\r\n\r\n"...)
	c.request = append(c.request, body...)
	if now := time.Now(); c.deadline.Before(now.Add(startPatience)) {
		c.deadline = now.Add(2 * startPatience)
		if err = c.SetDeadline(c.deadline); err != nil {
			return "", fmt.Errorf("ask a server: %w", err)
		}
	}
	if _, err = c.Write(c.request); err != nil {
		return "", fmt.Errorf("ask a server: %w", err)
	}
	status, length, err := c.readHead()
	if err != nil {
		return "", fmt.Errorf("read an answer: %w", err)
	}
	if status == "200" {
		_, err = c.in.Discard(length)
		return c.leader, err
	}
	answer := make([]byte, length)
	if _, err := io.ReadFull(c.in, answer); err != nil {
		return "", fmt.Errorf("read an answer: %w", err)
	}
	return "", fmt.Errorf("%s: %s %s", body, status, answer)
}

// readHead reads the status line and the header fields of an answer.
func (c *sqlConnection) readHead() (status string, length int, err error) {
	length, c.leader = -1, ""
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return "", 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case status == "":
			_, rest, _ := bytes.Cut(line, []byte(" "))
			code, _, _ := bytes.Cut(rest, []byte(" "))
			if status = "200"; string(code) != status { // the usual one costs no memory
				status = string(code)
			}
			if status == "" {
				return "", 0, fmt.Errorf("a status line without a status: %q", line)
			}
		case len(line) == 0 && length < 0:
			return "", 0, errors.New("an answer without Content-Length")
		case len(line) == 0:
			return status, length, nil
		case bytes.EqualFold(name, []byte("X-Leader")):
			c.leader = strings.TrimPrefix(string(bytes.TrimSpace(value)), "http://")
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return "", 0, err
			}
		}
	}
}
