// Package storages opens the object stores that the storages of the catalog describe.
//
// It knows what a CREATE STORAGE may say (Check), where the files of a table lie below a storage (TablePrefix), and how
// credentials are sealed while they rest in the catalog (Keyring). It does not know what the files are.
//
// The main type is Set: one for each node, safe for concurrent use. It opens a store once and again when the storage was
// altered. What always holds: credentials are in the clear only here and in the statement that brought them; errors and
// String methods never show them; a name of a user or table makes one segment of a key, whatever is in it.
package storages

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

// Types of storages.
const (
	TypeFilesystem = "filesystem"
	TypeS3         = "s3"
)

// Config is what a Set works with.
type Config struct {
	DataPath string   // of the node; the local storage is below it
	FS       disk.FS  // of storages of type filesystem
	Keys     *Keyring // opens credentials; its zero value opens none
	Clock    clock.Clock
	// Buckets opens storages of type s3; nil opens those that answer over HTTP. It is not given credentials.
	Buckets func(*catalog.Storage) (objstore.Store, error)
}

// Set is the opened storages of one node.
type Set struct {
	cfg Config

	mu     sync.Mutex // guards opened
	opened map[string]opened
}

type opened struct {
	storage catalog.Storage // as it was when it was opened
	store   objstore.Store
}

// NewSet makes a set in which nothing is open.
func NewSet(cfg Config) *Set { return &Set{cfg: cfg, opened: map[string]opened{}} }

// Open returns the store of a storage. The catalog bounds how many there are.
func (s *Set) Open(storage *catalog.Storage) (objstore.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, found := s.opened[storage.ID]
	if found && before.storage == *storage {
		return before.store, nil
	}
	store, err := s.open(storage)
	if err != nil {
		return nil, fmt.Errorf("open storage '%s': %w", storage.ID, err)
	}
	if closer, ok := before.store.(interface{ Close() }); ok {
		closer.Close() // requests that are under way end by themselves
	}
	s.opened[storage.ID] = opened{storage: *storage, store: store}
	return store, nil
}

// Try opens a store that is not kept: of a storage that is not in the catalog yet.
func (s *Set) Try(storage *catalog.Storage) (objstore.Store, error) { return s.open(storage) }

// Seal encrypts the credentials of a storage.
func (s *Set) Seal(id, credentials string) (string, error) { return s.cfg.Keys.Seal(id, credentials) }

// Close drops idle connections.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.opened {
		if closer, ok := o.store.(interface{ Close() }); ok {
			closer.Close()
		}
	}
	clear(s.opened)
}

// Directory is where a storage of type filesystem lies on this node.
func (s *Set) Directory(storage *catalog.Storage) string {
	if storage.BaseDirectory == "" {
		return filepath.Join(s.cfg.DataPath, "storage")
	}
	return storage.BaseDirectory
}

func (s *Set) open(storage *catalog.Storage) (objstore.Store, error) {
	if storage.Type == TypeFilesystem {
		return objstore.OpenDir(s.cfg.FS, s.Directory(storage))
	}
	if storage.Type != TypeS3 {
		return nil, fault.New(fault.Unsupported, "storages of type '%s' are not supported", storage.Type)
	}
	if s.cfg.Buckets != nil {
		return s.cfg.Buckets(storage)
	}
	text, err := s.cfg.Keys.Open(storage.ID, storage.Credentials)
	if err != nil {
		return nil, err
	}
	cfg, err := s3Config(storage, text)
	if err != nil {
		return nil, err
	}
	cfg.Clock = s.cfg.Clock
	return objstore.OpenS3(cfg)
}

// Location is the word for a storage in messages and manifests: no secret is in it.
func Location(storage *catalog.Storage) string {
	if storage.Type == TypeS3 && !strings.HasPrefix(storage.BaseDirectory, "s3://") {
		return "s3://" + storage.BaseDirectory
	}
	return storage.BaseDirectory
}

// s3Credentials are the members of CREDENTIALS of an s3 storage.
type s3Credentials struct {
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	SessionToken    string `json:"session_token"`
}

// s3Settings are the members of CONFIG of an s3 storage.
type s3Settings struct {
	Type      string `json:"type"` // what clients of old send; ignored
	Endpoint  string `json:"endpoint"`
	Region    string `json:"region"`
	PathStyle bool   `json:"path_style"`
	AllowHTTP bool   `json:"allow_http"`
}

// s3Config reads a storage of type s3 with its credentials in the clear.
func s3Config(storage *catalog.Storage, credentials string) (objstore.S3Config, error) {
	var creds s3Credentials
	if err := strictly("CREDENTIALS", credentials, &creds); err != nil {
		return objstore.S3Config{}, err
	}
	if (creds.AccessKeyID == "") != (creds.SecretAccessKey == "") {
		return objstore.S3Config{}, fault.New(fault.InvalidStatement, "CREDENTIALS need access_key_id and secret_access_key, or neither to use those of the environment")
	}
	var settings s3Settings
	if err := strictly("CONFIG", storage.Config, &settings); err != nil {
		return objstore.S3Config{}, err
	}
	if strings.HasPrefix(settings.Endpoint, "http://") && !settings.AllowHTTP && !loopback(settings.Endpoint) {
		return objstore.S3Config{}, fault.New(fault.InvalidStatement,
			"the endpoint '%s' sends what is stored in the clear; use https, or say \"allow_http\": true in CONFIG", settings.Endpoint)
	}
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(storage.BaseDirectory, "s3://"), "/")
	return objstore.S3Config{
		Endpoint: settings.Endpoint, Region: settings.Region, Bucket: bucket, Prefix: strings.TrimSuffix(prefix, "/"),
		AccessKey: creds.AccessKeyID, SecretKey: creds.SecretAccessKey, SessionToken: creds.SessionToken, PathStyle: settings.PathStyle,
	}, nil
}

// strictly reads a JSON object whose members are all known. The error names no value.
func strictly(what, text string, into any) error {
	if text == "" {
		return nil
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fault.New(fault.InvalidStatement, "%s of the storage cannot be read: %v", what, err)
	}
	return nil
}

func loopback(endpoint string) bool {
	host := strings.TrimPrefix(endpoint, "http://")
	return strings.HasPrefix(host, "127.") || strings.HasPrefix(host, "localhost") || strings.HasPrefix(host, "[::1]")
}

// Check refuses a storage, with its credentials in the clear, of which no store can be made. It tries nothing.
func Check(storage *catalog.Storage) error {
	if storage.Type != TypeS3 {
		return nil
	}
	cfg, err := s3Config(storage, storage.Credentials)
	if err != nil {
		return err
	}
	cfg.Clock = clock.Real{}
	store, err := objstore.OpenS3(cfg)
	if err != nil {
		return fault.New(fault.InvalidStatement, "%w", err)
	}
	store.Close()
	return nil
}

// TablePrefix is what the keys of a table's files begin with in a storage, without a slash at the end. user is empty for
// shared tables.
func TablePrefix(storage *catalog.Storage, table *schema.Table, user ident.UserID) (string, error) {
	template := storage.SharedTemplate
	if user != "" {
		template = storage.UserTemplate
	}
	key := strings.NewReplacer(
		"{namespace}", objstore.EscapeSegment(table.Namespace),
		"{tableName}", objstore.EscapeSegment(table.Name),
		"{userId}", objstore.EscapeSegment(string(user)),
	).Replace(template)
	if err := objstore.CheckKey(key); err != nil {
		return "", fmt.Errorf("directory of table %s in storage '%s': %w", table.FullName(), storage.ID, err)
	}
	return key, nil
}
