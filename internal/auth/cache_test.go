package auth

import (
	"crypto/sha256"
	"strconv"
	"testing"
)

func TestTokenCacheIsBounded(t *testing.T) {
	t.Parallel()
	cache, key := newTokenCache(10), []byte("key")
	for i := range 1000 {
		cache.add(sha256.Sum256([]byte(strconv.Itoa(i))), key, claims{Role: strconv.Itoa(i)})
		if size := cache.size(); size > 10 {
			t.Fatalf("after %d tokens it holds %d", i+1, size)
		}
	}
	if found, ok := cache.get(sha256.Sum256([]byte("999")), key); !ok || found.Role != "999" {
		t.Errorf("the newest token is forgotten: %v, %v", found, ok)
	}
	if _, ok := cache.get(sha256.Sum256([]byte("1")), key); ok {
		t.Error("the oldest token is remembered")
	}
}

func TestTokenCacheKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	cache, key := newTokenCache(10), []byte("key")
	used := tokenKey(sha256.Sum256([]byte("used")))
	cache.add(used, key, claims{})
	for i := range 100 {
		cache.add(sha256.Sum256([]byte(strconv.Itoa(i))), key, claims{})
		if _, ok := cache.get(used, key); !ok {
			t.Fatalf("forgotten after %d others", i+1)
		}
	}
}

func TestTokenCacheForgetsOtherKeys(t *testing.T) {
	t.Parallel()
	cache := newTokenCache(10)
	token := tokenKey(sha256.Sum256([]byte("token")))
	cache.add(token, []byte("one"), claims{})
	if _, ok := cache.get(token, []byte("two")); ok {
		t.Error("a token is good under another key")
	}
	cache.add(tokenKey{1}, []byte("two"), claims{})
	if _, ok := cache.get(token, []byte("one")); ok {
		t.Error("a token of a former key is remembered")
	}
}
