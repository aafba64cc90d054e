package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// requestLimit bounds one request of a test.
const requestLimit = 15 * time.Second

// client is one user at one node.
type client struct {
	base  string
	token string
	http  *http.Client
}

// answer is what a node said to one SQL request.
type answer struct {
	HTTP    int    `json:"-"`
	Raw     []byte `json:"-"`
	Status  string `json:"status"`
	Results []struct {
		Schema []struct {
			Name     string          `json:"name"`
			DataType json.RawMessage `json:"data_type"`
		} `json:"schema"`
		Rows     [][]any `json:"rows"`
		RowCount int64   `json:"row_count"`
		Message  string  `json:"message"`
		AsUser   string  `json:"as_user"`
	} `json:"results"`
	Took  float64 `json:"took"`
	Error *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func (a answer) ok() bool { return a.HTTP == http.StatusOK && a.Status == "success" }

func (a answer) String() string { return fmt.Sprintf("%d %s", a.HTTP, bytes.TrimSpace(a.Raw)) }

// duplicate reports whether a row with this key was there already.
func (a answer) duplicate() bool {
	return a.Error != nil && strings.Contains(a.Error.Message, "Primary key violation")
}

// rows returns the rows of the only result.
func (a answer) rows() [][]any {
	if len(a.Results) != 1 {
		return nil
	}
	return a.Results[0].Rows
}

// login returns a client for the user at the node, once the node lets it in.
func (n *node) login(t *testing.T, user, password string) *client {
	t.Helper()
	c := &client{base: n.url(), http: &http.Client{Timeout: requestLimit}}
	t.Cleanup(c.http.CloseIdleConnections)
	eventually(t, fmt.Sprintf("%s logs in at %v", user, n), func() error {
		status, raw, err := c.post(t.Context(), "/v1/api/auth/login", map[string]any{"user": user, "password": password})
		if err != nil {
			return err
		}
		var grant struct {
			AccessToken string `json:"access_token"`
		}
		if err := json.Unmarshal(raw, &grant); err != nil || status != http.StatusOK || grant.AccessToken == "" {
			return fmt.Errorf("login of %s: %d %s", user, status, raw)
		}
		c.token = grant.AccessToken
		return nil
	})
	return c
}

// root returns a client for root at the node.
func (n *node) root(t *testing.T) *client {
	t.Helper()
	return n.login(t, "root", rootPassword)
}

// at returns the same user at another node.
func (c *client) at(n *node) *client {
	moved := *c
	moved.base = n.url()
	return &moved
}

// post sends a JSON body and returns status and body of the answer.
func (c *client) post(ctx context.Context, path string, body any) (int, []byte, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	return c.send(ctx, http.MethodPost, path, encoded)
}

func (c *client) send(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, nil, err
	}
	return response.StatusCode, raw, nil
}

// sql runs a statement once. The error is one of the connection: the node may or may not have run it.
func (c *client) sql(ctx context.Context, text string, params ...any) (answer, error) {
	body := map[string]any{"sql": text}
	if len(params) > 0 {
		body["params"] = params
	}
	status, raw, err := c.post(ctx, "/v1/api/sql", body)
	if err != nil {
		return answer{}, err
	}
	return decodeAnswer(status, raw)
}

func decodeAnswer(status int, raw []byte) (answer, error) {
	decoded := answer{HTTP: status, Raw: raw}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&decoded); err != nil {
		return answer{}, fmt.Errorf("answer %d %q: %w", status, raw, err)
	}
	return decoded, nil
}

// must runs a statement that has to succeed at the first attempt.
func (c *client) must(t *testing.T, text string, params ...any) answer {
	t.Helper()
	got, err := c.sql(t.Context(), text, params...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if !got.ok() {
		t.Fatalf("%s: %v", text, got)
	}
	return got
}

// soon runs a statement that is safe to repeat until it succeeds, as a client does during an election.
func (c *client) soon(t *testing.T, text string, params ...any) answer {
	t.Helper()
	var got answer
	eventually(t, text, func() error {
		var err error
		if got, err = c.sql(t.Context(), text, params...); err != nil {
			return err
		}
		if !got.ok() {
			return errors.New(got.String())
		}
		return nil
	})
	return got
}

// number runs a query of one number.
func (c *client) number(t *testing.T, text string, params ...any) int64 {
	t.Helper()
	got := c.must(t, text, params...)
	if rows := got.rows(); len(rows) == 1 && len(rows[0]) == 1 {
		return integer(t, rows[0][0])
	}
	t.Fatalf("%s: want one number, got %v", text, got)
	return 0
}

// integer reads a cell that holds a whole number, as a JSON number or, for BIGINT, as text. NULL is -1.
func integer(t *testing.T, cell any) int64 {
	t.Helper()
	text := ""
	switch typed := cell.(type) {
	case nil:
		return -1
	case json.Number:
		text = typed.String()
	case string:
		text = typed
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("cell %v (%T) is not a whole number", cell, cell)
	}
	return number
}
