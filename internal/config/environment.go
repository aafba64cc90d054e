package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// applyEnvironment overrides fields by the variables that their tags name.
func applyEnvironment(cfg *Config, env func(string) string) error {
	return walk(cfg, func(f field) error {
		for _, name := range f.env() {
			text := env(name)
			if text == "" {
				continue
			}
			if err := setFromText(f.value, text); err != nil {
				return fmt.Errorf("%s = %s (environment variable of %s): %w; allowed: %s",
					name, f.shown(strconv.Quote(text)), f.name, err, f.allowed())
			}
			return nil
		}
		return nil
	})
}

// setFromText stores a variable's text in a field of any type that the tree uses.
func setFromText(value reflect.Value, text string) error {
	if target, ok := reflect.TypeAssert[encoding.TextUnmarshaler](value.Addr()); ok {
		return target.UnmarshalText([]byte(text))
	}
	switch target := value.Addr().Interface().(type) {
	case *string:
		*target = text
	case *bool:
		parsed, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("not a truth value")
		}
		*target = parsed
	case *[]Peer:
		peers, err := parsePeers(text)
		if err != nil {
			return err
		}
		*target = peers
	default:
		return setNumber(value, text)
	}
	return nil
}

func setNumber(value reflect.Value, text string) error {
	if value.CanInt() {
		parsed, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return errors.New("not a whole number")
		}
		value.SetInt(parsed)
		return nil
	}
	if value.CanUint() {
		parsed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return errors.New("not a whole number")
		}
		value.SetUint(parsed)
		return nil
	}
	return fmt.Errorf("a %s cannot be set from the environment", value.Type())
}

// parsePeers reads id@rpc@api;id@rpc@api. An empty part between semicolons is skipped.
func parsePeers(text string) ([]Peer, error) {
	var peers []Peer
	for part := range strings.SplitSeq(text, ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		pieces := strings.Split(part, "@")
		if len(pieces) != 3 {
			return nil, fmt.Errorf("peer %q: want id@rpc@api", part)
		}
		id, err := strconv.ParseUint(pieces[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("peer %q: the id is not a whole number", part)
		}
		peers = append(peers, Peer{NodeID: id, RPCAddr: pieces[1], APIAddr: pieces[2]})
	}
	return peers, nil
}
