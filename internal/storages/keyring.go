package storages

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// KeyBytes is the length of a key: AES-256.
const KeyBytes = 32

// sealedPrefix begins sealed credentials: "sealed:1:<id of the key>:<base64 of nonce and ciphertext>". Credentials in
// the clear begin with a brace.
const sealedPrefix = "sealed:1:"

// Keyring seals and opens credentials. The zero value has no key.
type Keyring struct{ keys []key }

type key struct {
	id   string // the beginning of a hash; it tells keys apart and nothing of them
	aead cipher.AEAD
}

// ParseKeys reads keys in base64, separated by commas. The first seals, all open, so that a new key can be put before an
// old one until every storage was altered.
func ParseKeys(text string) (*Keyring, error) {
	ring := &Keyring{}
	if text == "" {
		return ring, nil
	}
	for i, word := range strings.Split(text, ",") {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(word))
		if err != nil || len(raw) != KeyBytes {
			return nil, fmt.Errorf("key %d is not the base64 of %d bytes", i+1, KeyBytes)
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(append([]byte("kalamdb key id "), raw...))
		ring.keys = append(ring.keys, key{id: hex.EncodeToString(sum[:4]), aead: aead})
	}
	return ring, nil
}

// Sealed reports whether credentials are as they rest in the catalog.
func Sealed(credentials string) bool { return strings.HasPrefix(credentials, sealedPrefix) }

// Seal encrypts the credentials of a storage; they open under its id alone. Credentials that hold nothing stay as they are.
func (k *Keyring) Seal(id, credentials string) (string, error) {
	if empty(credentials) || Sealed(credentials) {
		return credentials, nil
	}
	if len(k.keys) == 0 {
		return "", fault.New(fault.InvalidStatement, "credentials of storages are kept encrypted and this node has no key: set storage.credentials_key "+
			"to the same key on every node, or leave CREDENTIALS out to use those of the environment")
	}
	first := k.keys[0]
	nonce := make([]byte, first.aead.NonceSize(), first.aead.NonceSize()+len(credentials)+first.aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return "", fmt.Errorf("seal the credentials of storage '%s': %w", id, err)
	}
	sealed := first.aead.Seal(nonce, nonce, []byte(credentials), []byte(id))
	return sealedPrefix + first.id + ":" + base64.StdEncoding.EncodeToString(sealed), nil
}

// Open decrypts what Seal made. Credentials in the clear, of a statement that runs, are returned as they are.
func (k *Keyring) Open(id, credentials string) (string, error) {
	rest, sealed := strings.CutPrefix(credentials, sealedPrefix)
	if !sealed {
		return credentials, nil
	}
	keyID, text, _ := strings.Cut(rest, ":")
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", fmt.Errorf("the credentials of storage '%s' are damaged: %w", id, err)
	}
	for _, candidate := range k.keys {
		if candidate.id != keyID {
			continue
		}
		size := candidate.aead.NonceSize()
		if len(raw) < size {
			return "", fmt.Errorf("the credentials of storage '%s' are damaged: %d bytes", id, len(raw))
		}
		plain, err := candidate.aead.Open(nil, raw[:size], raw[size:], []byte(id))
		if err != nil {
			return "", fmt.Errorf("the credentials of storage '%s' are damaged or another storage's: %w", id, err)
		}
		return string(plain), nil
	}
	return "", fmt.Errorf("%w: storage '%s' needs the key %s; storage.credentials_key of this node has %d others", errNoKey, id, keyID, len(k.keys))
}

var errNoKey = errors.New("credentials are sealed with a key that this node does not have")

// empty reports whether credentials hold no secret.
func empty(credentials string) bool {
	var members map[string]json.RawMessage
	return credentials == "" || json.Unmarshal([]byte(credentials), &members) == nil && len(members) == 0
}
