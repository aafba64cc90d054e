package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// maxFileBytes bounds a configuration file; a larger one is refused.
const maxFileBytes = 1 << 20

// Warning is something about the configuration that the operator should know and that does not stop the
// node.
type Warning struct {
	Message string
	Keys    []string // the keys it is about
}

// Load reads the file at path, lets the environment override it, and checks the result. An empty path
// means no file: defaults and environment only. env looks a variable up and returns "" for one that is
// not set, like os.Getenv.
func Load(path string, env func(string) string) (*Config, []Warning, error) {
	if path == "" {
		return Parse(nil, env)
	}
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read from
	raw, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration %s: %w", path, err)
	}
	if len(raw) > maxFileBytes {
		return nil, nil, fmt.Errorf("read configuration %s: larger than %d bytes", path, maxFileBytes)
	}
	cfg, warnings, err := Parse(raw, env)
	if err != nil {
		return nil, nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return cfg, warnings, nil
}

// Parse is Load for the text of a file.
func Parse(text []byte, env func(string) string) (*Config, []Warning, error) {
	cfg := Default()
	warnings, err := decode(text, cfg)
	if err != nil {
		return nil, nil, err
	}
	if err := applyEnvironment(cfg, env); err != nil {
		return nil, nil, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, nil, err
	}
	return cfg, warnings, nil
}

// decode reads TOML over cfg. Unknown keys give one warning.
func decode(text []byte, cfg *Config) ([]Warning, error) {
	decoder := toml.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields().EnableUnmarshalerInterface() // the latter for Join
	err := decoder.Decode(cfg)
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		return []Warning{unknownKeys(unknown)}, nil
	}
	if err != nil {
		return nil, refused(text, cfg, err)
	}
	return nil, nil
}

// refused says what is wrong with a text that could not be decoded.
func refused(text []byte, cfg *Config, err error) error {
	position := ""
	wrong, located := errors.AsType[*toml.DecodeError](err)
	if located {
		line, column := wrong.Position()
		position = fmt.Sprintf("line %d, column %d: ", line, column)
	}
	switch mistakes := wrongTypes(text, cfg); {
	case len(mistakes) == 1:
		return fmt.Errorf("%s%w", position, mistakes[0])
	case len(mistakes) > 1:
		return errors.Join(mistakes...)
	case !located:
		return fmt.Errorf("decode: %w", err)
	}
	message := strings.TrimPrefix(wrong.Error(), "toml: ")
	if key := strings.Join(wrong.Key(), "."); key != "" {
		message = key + ": " + message
	}
	return errors.New(position + message)
}

func unknownKeys(missing *toml.StrictMissingError) Warning {
	seen := make(map[string]bool, len(missing.Errors))
	keys := make([]string, 0, len(missing.Errors))
	for i := range missing.Errors {
		key := strings.Join(missing.Errors[i].Key(), ".")
		if !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	return Warning{Message: "unknown configuration keys are ignored", Keys: keys}
}
