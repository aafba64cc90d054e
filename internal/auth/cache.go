package auth

import (
	"bytes"
	"crypto/sha256"
	"sync"
)

// tokenKey is the hash under which a verified token is remembered; the token itself is not kept.
type tokenKey [sha256.Size]byte

// tokenCache remembers tokens whose signature was good under the current key. It is bounded: when the
// young generation is full, it becomes the old one and the old one is forgotten.
type tokenCache struct {
	mu       sync.Mutex // guards all below
	capacity int        // of each generation
	signing  []byte     // the key that the remembered tokens were signed with
	young    map[tokenKey]claims
	old      map[tokenKey]claims
}

func newTokenCache(capacity int) *tokenCache {
	return &tokenCache{capacity: max(1, capacity/2), young: make(map[tokenKey]claims)}
}

// get returns the claims of a token that was verified under the key.
func (c *tokenCache) get(token tokenKey, signing []byte) (claims, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !bytes.Equal(c.signing, signing) {
		return claims{}, false
	}
	if found, ok := c.young[token]; ok {
		return found, true
	}
	found, ok := c.old[token]
	if ok {
		c.put(token, found)
	}
	return found, ok
}

// add remembers a token that was verified under the key; tokens of another key are forgotten.
func (c *tokenCache) add(token tokenKey, signing []byte, verified claims) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !bytes.Equal(c.signing, signing) {
		c.signing = bytes.Clone(signing)
		c.young, c.old = make(map[tokenKey]claims), nil
	}
	c.put(token, verified)
}

// put is called with mu held.
func (c *tokenCache) put(token tokenKey, verified claims) {
	if len(c.young) >= c.capacity {
		c.old, c.young = c.young, make(map[tokenKey]claims)
	}
	c.young[token] = verified
}

// size counts the remembered tokens; one in both generations counts twice.
func (c *tokenCache) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.young) + len(c.old)
}
