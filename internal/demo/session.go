package demo

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
)

// maxAnswerBytes bounds what is read of one answer.
const maxAnswerBytes = 16 << 20

const (
	sampleNamespace = "demo"
	sampleTable     = "demo.notes"
)

// session is one user of the cluster's HTTP interface.
type session struct {
	http  *http.Client
	token string
}

// refusal is an answer other than success.
type refusal struct {
	code, message string
}

// Error implements error.
func (r *refusal) Error() string { return r.code + ": " + r.message }

// login returns a session of the user.
func login(ctx context.Context, url, user, password string) (*session, error) {
	s := &session{http: &http.Client{}}
	var grant struct {
		AccessToken string `json:"access_token"`
		Message     string `json:"message"`
	}
	body := map[string]any{"user": user, "password": password}
	if err := s.post(ctx, url+"/v1/api/auth/login", body, &grant); err != nil {
		return nil, fmt.Errorf("log in as %s: %w", user, err)
	}
	if grant.AccessToken == "" {
		return nil, fmt.Errorf("log in as %s: %s", user, grant.Message)
	}
	s.token = grant.AccessToken
	return s, nil
}

// query runs one statement at a node and returns the rows of its result. A refused statement is a
// *refusal; after any other error it may or may not have run.
func (s *session) query(ctx context.Context, url, sql string, params ...any) ([][]any, error) {
	var answer struct {
		Status  string `json:"status"`
		Results []struct {
			Rows [][]any `json:"rows"`
		} `json:"results"`
		Error *struct{ Code, Message string } `json:"error"`
	}
	if err := s.post(ctx, url+"/v1/api/sql", map[string]any{"sql": sql, "params": params}, &answer); err != nil {
		return nil, err
	}
	if answer.Error != nil {
		return nil, &refusal{answer.Error.Code, answer.Error.Message}
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("the node answered with status %q", answer.Status)
	}
	if len(answer.Results) == 0 {
		return nil, nil
	}
	return answer.Results[0].Rows, nil
}

func (s *session) post(ctx context.Context, url string, body, into any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(encoded))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	if s.token != "" {
		request.Header.Set("Authorization", "Bearer "+s.token)
	}
	response, err := s.http.Do(request)
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("answer %s: %w", response.Status, err)
	}
	return nil
}

// createSample makes the namespace, the table and the user of the demo, unless an earlier run in the same
// directory has, and returns the user's session.
func createSample(ctx context.Context, c *cluster) (*session, error) {
	root, err := login(ctx, c.url(0), rootUser, rootPassword)
	if err != nil {
		return nil, err
	}
	defer root.http.CloseIdleConnections()
	for _, statement := range []string{
		"CREATE NAMESPACE IF NOT EXISTS " + sampleNamespace,
		"CREATE TABLE IF NOT EXISTS " + sampleTable +
			" (id BIGINT PRIMARY KEY, body TEXT NOT NULL, written TIMESTAMP DEFAULT NOW()) WITH (TYPE = 'USER')",
		"CREATE USER " + demoUser + " WITH PASSWORD '" + demoPassword + "' ROLE user",
	} {
		_, err := root.query(ctx, c.url(0), statement)
		var refused *refusal
		if errors.As(err, &refused) && strings.Contains(refused.message, "already exists") {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", statement, err)
		}
	}
	return login(ctx, c.url(0), demoUser, demoPassword)
}

// whole reads a BIGINT cell; NULL is zero.
func whole(cell any) (int64, error) {
	switch typed := cell.(type) {
	case nil:
		return 0, nil
	case string:
		return strconv.ParseInt(typed, 10, 64)
	case json.Number:
		return typed.Int64()
	}
	return 0, fmt.Errorf("cell %v is not a whole number", cell)
}
