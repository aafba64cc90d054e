package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Grant is what a server gives for a password or a refresh token.
type Grant struct {
	AccessToken      string    `json:"access_token"`
	RefreshToken     string    `json:"refresh_token"`
	ExpiresAt        time.Time `json:"expires_at"`
	RefreshExpiresAt time.Time `json:"refresh_expires_at"`
	User             struct {
		ID   string `json:"id"`
		Role string `json:"role"`
	} `json:"user"`
	Message string `json:"message"` // of a refusal
}

// Login asks for tokens with User and Password: the node in use, and the others in turn, once each, while nobody answers. The client goes on
// with them. The error wraps ErrUnauthorized when the server does not accept the password.
func (c *Client) Login(ctx context.Context) (*Grant, error) {
	body := map[string]string{"user": c.config.User, "password": c.config.Password}
	return c.grantedByAny(ctx, "/v1/api/auth/login", "", body)
}

// Refresh asks for new tokens with a refresh token, like Login. A token is good for one answer: when one was lost, ErrUnauthorized may follow.
func (c *Client) Refresh(ctx context.Context, refreshToken string) (*Grant, error) {
	return c.grantedByAny(ctx, "/v1/api/auth/refresh", refreshToken, map[string]string{})
}

// grantedByAny asks one node after the other until one answers.
func (c *Client) grantedByAny(ctx context.Context, path, token string, body any) (grant *Grant, err error) {
	for range c.config.URLs {
		base := c.url()
		grant, err = c.granted(ctx, base, base+path, token, body)
		if err == nil || errors.Is(err, ErrUnauthorized) || ctx.Err() != nil {
			break
		}
		c.leave(base)
	}
	return grant, err
}

// granted posts a question for tokens and keeps the access token that comes back.
func (c *Client) granted(ctx context.Context, base, address, token string, body any) (*Grant, error) {
	reply, err := c.post(ctx, address, token, body, &once{})
	if err != nil {
		return nil, err
	}
	var grant Grant
	if err := json.Unmarshal(reply.body, &grant); err != nil {
		return nil, fmt.Errorf("log in at %s: %w", base, err)
	}
	switch {
	case reply.status == http.StatusOK:
	case reply.status >= http.StatusInternalServerError || reply.status == http.StatusTooManyRequests:
		return nil, &retryable{cause: fmt.Errorf("log in at %s: %s", base, grant.Message), after: reply.retryAfter}
	default:
		return nil, fmt.Errorf("log in at %s: %w: %s", base, ErrUnauthorized, grant.Message)
	}
	if grant.AccessToken == "" {
		return nil, errors.New("log in at " + base + ": the answer holds no token")
	}
	c.mu.Lock()
	c.token = grant.AccessToken
	c.mu.Unlock()
	return &grant, nil
}

// login returns a token, asking for one if there is none.
func (c *Client) login(ctx context.Context, base string) (string, error) {
	c.mu.Lock()
	token := c.token
	c.mu.Unlock()
	if token != "" {
		return token, nil
	}
	body := map[string]string{"user": c.config.User, "password": c.config.Password}
	grant, err := c.granted(ctx, base, base+"/v1/api/auth/login", "", body)
	if err != nil {
		return "", err
	}
	return grant.AccessToken, nil
}
