package auth

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

const (
	minSecretBytes      = 32
	minDistinctBytes    = 6 // a secret of fewer different characters is typed, not drawn
	generatedKeyBytes   = 32
	secretFileName      = "jwt-secret"
	maxSecretFileBytes  = 4096
	secretFileMode      = 0o600
	deriveSecretPurpose = "kalamdb token key" //nolint:gosec // a label, not a key
)

// CheckSecret judges a configured token key. A weak one is an error, unless the server listens on loopback
// only, where it gives a warning. An empty secret is an error off loopback and no warning on it: the
// caller then makes one.
func CheckSecret(secret string, loopback bool) (warning string, err error) {
	weakness := secretWeakness(secret)
	switch {
	case weakness == "":
		return "", nil
	case !loopback:
		return "", fmt.Errorf("auth.jwt_secret %s: a server that is not bound to loopback needs a random secret of at least %d characters, "+
			"the same on all nodes", weakness, minSecretBytes)
	case secret == "":
		return "", nil
	}
	return "auth.jwt_secret " + weakness + "; it is accepted on a loopback address only", nil
}

// secretWeakness says what is wrong with a secret; "" is nothing.
func secretWeakness(secret string) string {
	if secret == "" {
		return "is not set"
	}
	if isPlaceholder(secret) {
		return "is a known placeholder"
	}
	if len(secret) < minSecretBytes {
		return fmt.Sprintf("has %d characters", len(secret))
	}
	distinct := make(map[byte]bool)
	for i := range len(secret) {
		distinct[secret[i]] = true
	}
	if len(distinct) < minDistinctBytes {
		return "repeats a few characters"
	}
	return ""
}

// isPlaceholder recognises the secrets of examples, whatever their case and separators.
func isPlaceholder(secret string) bool {
	folded := strings.NewReplacer("-", "", "_", "", " ", "", ".", "").Replace(strings.ToLower(secret))
	for _, mark := range []string{
		"changeme", "changethis", "changeinproduction", "yoursecret", "yourjwtsecret", "placeholder",
		"kalamdbdevsecret", "kalamdbsecret", "replaceme", "replacethis", "examplesecret", "notsecret", "insecure",
	} {
		if strings.Contains(folded, mark) {
			return true
		}
	}
	return folded == "secret" || folded == "jwtsecret" || folded == "supersecret"
}

// FixedSecret is the source of a configured key.
func FixedSecret(secret string) SecretSource {
	key := []byte(secret)
	return func() ([]byte, error) { return key, nil }
}

// DerivedSecret is the source of the key of a cluster on loopback that has none configured. It depends on
// the cluster's identity and root's password hash, which all nodes share and nobody outside knows. It is
// not ready until both exist.
func DerivedSecret(store *catalog.Store) SecretSource {
	// Every request asks; the key is derived anew only when what it depends on has changed.
	type derived struct {
		cluster ident.ClusterUID
		root    string
		key     []byte
	}
	var last atomic.Pointer[derived]
	return func() ([]byte, error) {
		picture := store.Current()
		cluster := picture.Cluster()
		root, ok := picture.User(RootUser)
		if cluster == nil || cluster.UID.IsZero() || !ok || root.PasswordHash == "" {
			return nil, fault.New(fault.Unavailable, "tokens cannot be signed before the cluster is founded and set up")
		}
		if known := last.Load(); known != nil && known.cluster == cluster.UID && known.root == root.PasswordHash {
			return known.key, nil
		}
		key, err := hkdf.Key(sha256.New, []byte(root.PasswordHash), cluster.UID[:], deriveSecretPurpose, generatedKeyBytes)
		if err != nil {
			return nil, fmt.Errorf("derive token key: %w", err)
		}
		last.Store(&derived{cluster.UID, root.PasswordHash, key})
		return key, nil
	}
}

// StoredSecret returns the key kept in a data directory and draws one the first time. The file is readable
// by its owner only.
func StoredSecret(dataDir string) (string, error) {
	path := filepath.Join(dataDir, secretFileName)
	stored, err := os.ReadFile(path) //nolint:gosec // the operator names the directory
	if err == nil {
		secret := strings.TrimSpace(string(stored))
		if len(secret) < minSecretBytes || len(secret) > maxSecretFileBytes {
			return "", fmt.Errorf("token key %s: has %d characters, want at least %d; remove the file to draw a new one",
				path, len(secret), minSecretBytes)
		}
		return secret, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read token key: %w", err)
	}
	raw := make([]byte, generatedKeyBytes)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("draw token key: %w", err)
	}
	secret := hex.EncodeToString(raw)
	if err := writeSecret(dataDir, path, secret); err != nil {
		return "", fmt.Errorf("store token key: %w", err)
	}
	return secret, nil
}

// writeSecret makes the file appear whole or not at all.
func writeSecret(dataDir, path, secret string) error {
	file, err := os.CreateTemp(dataDir, secretFileName+"-*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // gone after the rename, litter otherwise
	_, errWrite := file.WriteString(secret + "\n")
	err = errors.Join(errWrite, file.Chmod(secretFileMode), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDirectory(dataDir)
}

func syncDirectory(dataDir string) error {
	directory, err := os.Open(dataDir) //nolint:gosec // the operator names the directory
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
