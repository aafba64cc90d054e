package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

const (
	maxKeyDocumentBytes = 256 << 10
	maxKeys             = 64
	minRSABits          = 2048
	maxRSABits          = 8192
	keyFetchTimeout     = 5 * time.Second
	keyLife             = time.Hour        // after which keys are fetched anew
	keyGrace            = 24 * time.Hour   // for which they are good when that fails
	firstKeyPause       = 15 * time.Second // between fetches for keys that are not there; it doubles
	longestKeyPause     = 10 * time.Minute
)

var (
	errKeysUnavailable = errors.New("the keys of the issuer cannot be fetched")
	errNoSuchKey       = errors.New("the issuer has no such key")
)

func keysUnavailable(issuer string, cause error) error {
	return fault.New(fault.Unavailable, "the keys of issuer %s cannot be fetched; try again: %w", issuer, cause)
}

// publicKey is a key of an issuer.
type publicKey struct {
	key       crypto.PublicKey
	algorithm string // that it is for; empty for any that fits
}

// keySet holds the keys of one issuer. It fetches them when they are asked for and are missing or old, at most one fetch at a time,
// and for unknown keys ever more rarely: whoever sends tokens with made-up keys must not make the server flood the issuer.
type keySet struct {
	source Issuer
	clock  clock.Clock
	client *http.Client
	turn   chan struct{} // holds a token while nobody fetches

	mu        sync.Mutex // guards all below
	keys      map[string]publicKey
	fetched   time.Time
	nextFetch time.Time // not before this
	pause     time.Duration
}

// newKeySet reads the keys of a file at once; those of a URL come with the first token.
func newKeySet(source Issuer, wall clock.Clock) (*keySet, error) {
	k := &keySet{source: source, clock: wall, turn: make(chan struct{}, 1), pause: firstKeyPause}
	k.turn <- struct{}{}
	k.client = &http.Client{
		Timeout: keyFetchTimeout,
		CheckRedirect: func(request *http.Request, via []*http.Request) error {
			if len(via) > 3 {
				return errors.New("too many redirections")
			}
			return checkKeyURL(request.URL.String())
		},
	}
	if source.JWKSFile == "" {
		return k, nil
	}
	data, err := readBounded(source.JWKSFile, maxKeyDocumentBytes)
	if err != nil {
		return nil, err
	}
	if k.keys, err = parseKeys(data); err != nil {
		return nil, fmt.Errorf("%s: %w", source.JWKSFile, err)
	}
	return k, nil
}

// find returns the key for a token. The errors are errKeysUnavailable, errNoSuchKey and that of the context.
func (k *keySet) find(ctx context.Context, id, algorithm string) (crypto.PublicKey, error) {
	key, fresh, usable := k.known(id, algorithm)
	if k.source.JWKSFile != "" || usable && fresh {
		if !usable {
			return nil, errNoSuchKey
		}
		return key, nil
	}
	if err := k.refresh(ctx, id, algorithm); err != nil && !usable {
		return nil, err
	}
	if key, _, usable = k.known(id, algorithm); usable {
		return key, nil
	}
	return nil, errNoSuchKey
}

// known looks for a key among those that are there. A token without a key id means the only key.
func (k *keySet) known(id, algorithm string) (key crypto.PublicKey, fresh, usable bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := k.clock.Now().Sub(k.fetched)
	if k.source.JWKSFile == "" && age > keyGrace {
		return nil, false, false
	}
	found, ok := k.keys[id]
	if !ok && id == "" && len(k.keys) == 1 {
		for _, found = range k.keys {
			ok = true
		}
	}
	if !ok || found.algorithm != "" && found.algorithm != algorithm {
		return nil, age <= keyLife, false
	}
	return found.key, age <= keyLife, true
}

// refresh fetches the keys, unless that was tried a short while ago, or somebody did it meanwhile.
func (k *keySet) refresh(ctx context.Context, id, algorithm string) error {
	select {
	case <-k.turn:
		defer func() { k.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if _, fresh, usable := k.known(id, algorithm); fresh && usable {
		return nil
	}
	k.mu.Lock()
	now, next, empty := k.clock.Now(), k.nextFetch, len(k.keys) == 0
	k.mu.Unlock()
	if now.Before(next) {
		if empty {
			return fmt.Errorf("%w: the next attempt is at %s", errKeysUnavailable, next.UTC().Format(time.RFC3339))
		}
		return nil
	}
	keys, err := k.fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.keys, k.fetched = keys, now
	}
	if _, there := keys[id]; there {
		k.pause = firstKeyPause
	} else {
		defer func() { k.pause = min(2*k.pause, longestKeyPause) }()
	}
	k.nextFetch = now.Add(k.pause)
	if err != nil {
		return fmt.Errorf("%w: %w", errKeysUnavailable, err)
	}
	return nil
}

func (k *keySet) fetch(ctx context.Context) (map[string]publicKey, error) {
	// A caller that leaves does not end the fetch for those who wait behind it; the client's timeout does.
	ctx = context.WithoutCancel(ctx)
	at := k.source.JWKSURL
	if at == "" {
		data, err := k.get(ctx, strings.TrimSuffix(k.source.Issuer, "/")+"/.well-known/openid-configuration")
		if err != nil {
			return nil, err
		}
		var found struct {
			Issuer  string `json:"issuer"`
			JWKSURI string `json:"jwks_uri"`
		}
		if err = json.Unmarshal(data, &found); err != nil {
			return nil, fmt.Errorf("its discovery document: %w", err)
		}
		if found.Issuer != k.source.Issuer {
			return nil, fmt.Errorf("its discovery document is that of issuer %q", found.Issuer)
		}
		if err = checkKeyURL(found.JWKSURI); err != nil {
			return nil, err
		}
		at = found.JWKSURI
	}
	data, err := k.get(ctx, at)
	if err != nil {
		return nil, err
	}
	return parseKeys(data)
}

func (k *keySet) get(ctx context.Context, at string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	response, err := k.client.Do(request)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxKeyDocumentBytes+1))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", at, response.Status)
	}
	if len(data) > maxKeyDocumentBytes {
		return nil, fmt.Errorf("%s answers more than %d bytes", at, maxKeyDocumentBytes)
	}
	return data, nil
}

// webKey is one key of a JSON Web Key Set, RFC 7517.
type webKey struct {
	Type      string `json:"kty"`
	Use       string `json:"use"`
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	Modulus   string `json:"n"`
	Exponent  string `json:"e"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y"`
}

// parseKeys reads a set of keys. What cannot sign here is left out, as RFC 7517 section 5 advises: keys of other kinds, those for
// encryption, and those that are too weak or damaged. A set of nothing else is an error.
func parseKeys(data []byte) (map[string]publicKey, error) {
	var set struct {
		Keys []webKey `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("no set of keys: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("a set of %d keys; at most %d are read", len(set.Keys), maxKeys)
	}
	keys := make(map[string]publicKey, len(set.Keys))
	var refused error
	for i := range set.Keys {
		described := &set.Keys[i]
		if described.Use != "" && described.Use != "sig" {
			continue
		}
		key, err := described.public()
		if err != nil {
			refused = errors.Join(refused, fmt.Errorf("key %q: %w", described.ID, err))
			continue
		}
		if key != nil {
			keys[described.ID] = publicKey{key: key, algorithm: described.Algorithm}
		}
	}
	if len(keys) == 0 {
		return nil, errors.Join(errors.New("a set without a key that could sign"), refused)
	}
	return keys, nil
}

func (w *webKey) public() (crypto.PublicKey, error) {
	switch w.Type {
	case "RSA":
		modulus, err := bigOf("n", w.Modulus)
		if err != nil {
			return nil, err
		}
		exponent, err := bigOf("e", w.Exponent)
		if err != nil {
			return nil, err
		}
		if bits := modulus.BitLen(); bits < minRSABits || bits > maxRSABits || exponent.BitLen() > 31 || exponent.Int64() < 3 || exponent.Bit(0) == 0 {
			return nil, fmt.Errorf("an RSA key of %d bits; from %d to %d are good", bits, minRSABits, maxRSABits)
		}
		return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, nil
	case "EC":
		curve, ok := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[w.Curve]
		if !ok {
			return nil, nil //nolint:nilnil // another curve signs nothing here
		}
		size := (curve.Params().BitSize + 7) / 8
		point := make([]byte, 1+2*size)
		point[0] = 4 // an uncompressed point
		for i, text := range []string{w.X, w.Y} {
			coordinate, err := bigOf("coordinate", text)
			if err != nil || coordinate.BitLen() > 8*size {
				return nil, errors.Join(errors.New("a point that is on no curve"), err)
			}
			coordinate.FillBytes(point[1+i*size : 1+(i+1)*size])
		}
		return ecdsa.ParseUncompressedPublicKey(curve, point)
	}
	return nil, nil //nolint:nilnil // another kind of key signs nothing here
}

func bigOf(name, text string) (*big.Int, error) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(raw) == 0 || len(raw) > maxRSABits/8+1 {
		return nil, fmt.Errorf("%s is no number in base64", name)
	}
	return new(big.Int).SetBytes(raw), nil
}
