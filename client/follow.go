package client

import (
	"net/url"
	"strings"
)

// The headers by which a client asks who leads what it changes, and is told when it is not the node that answers.
const (
	followHeader = "X-Follow-Leader"
	leaderHeader = "X-Leader"
)

// maxLeaders bounds what is remembered; past it, all of it is learned again.
const maxLeaders = 1024

// maxTargetBytes is how far into a statement the name of a table is looked for.
const maxTargetBytes = 256

// targetOf names what a change changes: the table as it is written and the namespace of the request. It is empty for a client of one
// node, which has no choice.
func (c *Client) targetOf(request Request) string {
	if len(c.config.URLs) == 1 {
		return ""
	}
	sql := strings.TrimSpace(request.SQL)
	words := strings.Fields(sql[:min(len(sql), maxTargetBytes)])
	if len(words) > 0 && strings.EqualFold(words[0], "WITH") {
		words = words[firstChange(words):] // all that a statement changes is led by one node
	}
	if len(words) == 0 {
		return ""
	}
	position := 1 // UPDATE t
	if !strings.EqualFold(strings.TrimLeft(words[0], "("), "UPDATE") {
		position = 2 // INSERT INTO t, DELETE FROM t
	}
	if len(words) <= position {
		return ""
	}
	name, _, _ := strings.Cut(words[position], "(")
	return request.Namespace + "/" + strings.ToLower(strings.TrimRight(name, ";)"))
}

// firstChange finds the word with which the first change within WITH begins; there may be none.
func firstChange(words []string) int {
	for i, word := range words {
		switch strings.ToUpper(strings.TrimLeft(word, "(")) {
		case "INSERT", "UPDATE", "DELETE":
			return i
		}
	}
	return len(words)
}

// leaderOf returns the address to send a change to: that of the leader, if one is known, or of the node in use.
func (c *Client) leaderOf(target string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if node, known := c.leaders[target]; known && target != "" {
		return c.config.URLs[node]
	}
	return c.config.URLs[c.node]
}

// follow remembers the leader that an answer names. A node that Config does not name is not followed: whoever answers must not be able to
// send the caller's token elsewhere.
func (c *Client) follow(target, leader string) {
	if target == "" || leader == "" {
		return
	}
	for node, known := range c.config.URLs {
		if !sameNode(known, leader) {
			continue
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.leaders == nil || len(c.leaders) >= maxLeaders {
			c.leaders = make(map[string]int)
		}
		c.leaders[target] = node
		return
	}
}

// sameNode reports whether two URLs have one host and port. The scheme is the configured one's: a node need not know that TLS ends
// before it.
func sameNode(configured, told string) bool {
	if configured == told {
		return true
	}
	a, err := url.Parse(configured)
	if err != nil {
		return false
	}
	b, err := url.Parse(told)
	return err == nil && strings.EqualFold(a.Host, b.Host)
}
