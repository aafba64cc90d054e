package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// statementPatience bounds one statement: taking a node out may have to wait for every group.
const statementPatience = 90 * time.Second

// maxAnswerBytes bounds what is read of one answer.
const maxAnswerBytes = 64 << 20

// sqlClient runs statements at one node through its public interface.
type sqlClient struct {
	url, user, password, token string
	http                       http.Client
}

// flags declares how a command reaches a node and who signs in.
func (c *sqlClient) flags(command *cobra.Command, flags *pflag.FlagSet, env func(string) string) {
	flags.StringVar(&c.url, "url", "http://127.0.0.1:8080", "address of any node")
	flags.StringVar(&c.user, "user", "root", "who signs in")
	flags.StringVar(&c.password, "password", "", "password; default KALAMDB_PASSWORD")
	flags.StringVar(&c.token, "token", "", "access token, instead of user and password; default KALAMDB_TOKEN")
	command.PersistentPreRun = func(*cobra.Command, []string) {
		if c.password == "" && c.token == "" {
			c.password, c.token = env("KALAMDB_PASSWORD"), env("KALAMDB_TOKEN")
		}
	}
}

// table is the rows of one answer with the names of their columns, or what the answer says instead of rows.
type table struct {
	message string
	columns []string
	rows    [][]any
}

// refusedError is an answer that is not a success.
type refusedError struct {
	status        int
	code, message string
}

// Error implements error.
func (e *refusedError) Error() string {
	return fmt.Sprintf("%s (%s, HTTP %d)", e.message, e.code, e.status)
}

// sql runs one statement that returns rows. It signs in first when it has no token.
func (c *sqlClient) sql(ctx context.Context, statement string) (*table, error) {
	if c.token == "" {
		if err := c.login(ctx); err != nil {
			return nil, err
		}
	}
	var answer struct {
		Results []struct {
			Schema []struct {
				Name string `json:"name"`
			} `json:"schema"`
			Rows    [][]any `json:"rows"`
			Message string  `json:"message"`
		} `json:"results"`
	}
	if err := c.post(ctx, "/v1/api/sql", map[string]string{"sql": statement}, &answer); err != nil {
		return nil, err
	}
	found := &table{}
	for _, result := range answer.Results {
		for _, column := range result.Schema {
			found.columns = append(found.columns, column.Name)
		}
		found.rows = append(found.rows, result.Rows...)
		if result.Message != "" {
			found.message = result.Message
		}
	}
	return found, nil
}

func (c *sqlClient) login(ctx context.Context) error {
	var grant struct {
		AccessToken string `json:"access_token"`
	}
	body := map[string]string{"user": c.user, "password": c.password}
	if err := c.post(ctx, "/v1/api/auth/login", body, &grant); err != nil {
		return fmt.Errorf("sign in as %s: %w", c.user, err)
	}
	if grant.AccessToken == "" {
		return fmt.Errorf("sign in as %s: the node gave no token", c.user)
	}
	c.token = grant.AccessToken
	return nil
}

// post sends a JSON body and decodes the answer of a success.
func (c *sqlClient) post(ctx context.Context, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, statementPatience)
	defer cancel()
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.url, "/")+path, bytes.NewReader(encoded))
	if err != nil {
		return &usageError{fmt.Errorf("--url: %w", err)}
	}
	request.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return refusal(response.StatusCode, raw)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("the answer is not what a node says: %w", err)
	}
	return nil
}

// refusal reads both forms in which a node refuses: with an object under error, and with a text.
func refusal(status int, raw []byte) error {
	var envelope struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
	}
	refused := &refusedError{status: status, code: http.StatusText(status), message: string(raw[:min(len(raw), 512)])}
	if json.Unmarshal(raw, &envelope) != nil {
		return refused
	}
	var detail struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	var code string
	switch {
	case json.Unmarshal(envelope.Error, &detail) == nil && detail.Message != "":
		refused.code, refused.message = detail.Code, detail.Message
	case json.Unmarshal(envelope.Error, &code) == nil:
		refused.code = code
		if envelope.Message != "" {
			refused.message = envelope.Message
		}
	}
	return refused
}

// object returns a row with the names of its columns.
func (t *table) object(row []any) map[string]any {
	named := make(map[string]any, len(t.columns))
	for i, name := range t.columns {
		if i < len(row) {
			named[name] = row[i]
		}
	}
	return named
}

// objects returns all rows with the names of their columns.
func (t *table) objects() []map[string]any {
	all := make([]map[string]any, len(t.rows))
	for i, row := range t.rows {
		all[i] = t.object(row)
	}
	return all
}
