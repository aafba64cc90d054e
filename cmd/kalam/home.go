package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// home is the folder of what the program remembers, ~/.kalam unless KALAM_HOME names another.
type home string

func findHome(env func(string) string) (home, error) {
	if dir := env("KALAM_HOME"); dir != "" {
		return home(dir), nil
	}
	dir := env("HOME")
	if dir == "" {
		found, err := os.UserHomeDir()
		if err != nil {
			return "", usagef("no home directory for ~/.kalam: %w; set KALAM_HOME", err)
		}
		dir = found
	}
	return home(filepath.Join(dir, ".kalam")), nil
}

func (h home) path(name string) string { return filepath.Join(string(h), name) }

// settings is config.toml. Zero values leave the choice to the program.
type settings struct {
	Server struct {
		URL string `toml:"url"` // such as http://127.0.0.1:8080
	} `toml:"server"`
	Connection struct {
		TimeoutSeconds           float64 `toml:"timeout"`            // of a whole request
		ConnectionTimeoutSeconds float64 `toml:"connection_timeout"` // of the connection alone
	} `toml:"connection"`
	Auth struct {
		User string `toml:"user"`
	} `toml:"auth"`
	UI struct {
		Format      string `toml:"format"` // table, json, csv or markdown
		Timing      *bool  `toml:"timing"`
		Color       *bool  `toml:"color"`
		Pager       string `toml:"pager"` // a command; "off" for none
		HistorySize int    `toml:"history_size"`
	} `toml:"ui"`
}

// readSettings reads a configuration file. A file that nobody named may be missing.
func readSettings(path string, named bool) (settings, error) {
	var s settings
	data, err := os.ReadFile(path) //nolint:gosec // the user names his own file
	if errors.Is(err, fs.ErrNotExist) && !named {
		return s, nil
	}
	if err != nil {
		return s, usagef("configuration: %w", err)
	}
	decoder := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
			return s, usagef("configuration %s: unknown key:\n%s", path, strict.String())
		}
		return s, usagef("configuration %s: %w", path, err)
	}
	return s, nil
}

// credential is what is kept for one instance: never a password.
type credential struct {
	URL              string    `toml:"server_url"`
	User             string    `toml:"user"`
	AccessToken      string    `toml:"access_token"`
	ExpiresAt        time.Time `toml:"expires_at"`
	RefreshToken     string    `toml:"refresh_token"`
	RefreshExpiresAt time.Time `toml:"refresh_expires_at"`
}

// credentials is credentials.toml.
type credentials struct {
	Instances map[string]credential `toml:"instances"`
}

const credentialsFile = "credentials.toml"

// credentials reads the file; a missing one is empty. It refuses a file that others can read.
func (h home) credentials() (credentials, error) {
	c := credentials{Instances: map[string]credential{}}
	path := h.path(credentialsFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, usagef("credentials: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return c, usagef("%s can be read by others (mode %04o); run chmod 600 on it", path, info.Mode().Perm())
	}
	data, err := os.ReadFile(path) //nolint:gosec // the path is the user's own
	if err == nil {
		err = toml.Unmarshal(data, &c)
	}
	if err != nil {
		return c, usagef("credentials %s: %w", path, err)
	}
	if c.Instances == nil {
		c.Instances = map[string]credential{}
	}
	return c, nil
}

// save writes the credentials, readable by the owner alone, all or nothing.
func (h home) save(c credentials) error {
	data, err := toml.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode the credentials: %w", err)
	}
	return h.write(credentialsFile, data)
}

// write replaces a file of the folder at once.
func (h home) write(name string, data []byte) error {
	if err := os.MkdirAll(string(h), 0o700); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	file, err := os.CreateTemp(string(h), name+".*") // its mode is 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), h.path(name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(file.Name()))
	}
	return nil
}
