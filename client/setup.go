package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Setup is the first setup of a server: the password of root, and the first administrator.
type Setup struct {
	User         string `json:"user"`
	Password     string `json:"password"`
	RootPassword string `json:"root_password"`
	Email        string `json:"email,omitempty"`
}

// NeedsSetup asks the node in use whether root has no password yet. Servers tell clients on their own machine only.
func (c *Client) NeedsSetup(ctx context.Context) (bool, error) {
	address := c.url() + "/v1/api/auth/status"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return false, err
	}
	response, err := c.config.HTTP.Do(request)
	if err != nil {
		return false, err
	}
	read, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return false, err
	}
	var status struct {
		NeedsSetup bool `json:"needs_setup"`
	}
	if response.StatusCode != http.StatusOK {
		return false, fmt.Errorf("setup status of %s: %s", address, response.Status)
	}
	if err := json.Unmarshal(read, &status); err != nil {
		return false, fmt.Errorf("setup status of %s: %w", address, err)
	}
	return status.NeedsSetup, nil
}

// SetUp runs the first setup. A refusal is an *Error; a failure on the way leaves open whether the server is set up.
func (c *Client) SetUp(ctx context.Context, setup Setup) error {
	reply, err := c.post(ctx, c.url()+"/v1/api/auth/setup", "", setup, &once{})
	if err != nil {
		return err
	}
	if reply.status == http.StatusOK {
		return nil
	}
	var refused struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(reply.body, &refused); err != nil {
		return fmt.Errorf("set up: status %d: %w", reply.status, err)
	}
	return &Error{Code: refused.Error, Message: refused.Message, Status: reply.status}
}
