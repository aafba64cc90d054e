package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// wrongTypes names each key of the text whose value has a type that its field cannot take. It is asked when
// decoding failed: the decoder stops at the first such value, does not always name it, and speaks of our
// types.
func wrongTypes(text []byte, cfg *Config) (wrong []error) {
	var tree map[string]any
	if toml.Unmarshal(text, &tree) != nil {
		return nil // the text is not TOML, which the decoder said better
	}
	// The visitor never fails, so walk cannot.
	_ = walk(cfg, func(f field) error {
		value, found := lookUp(tree, f.name)
		switch {
		case !found:
		case f.value.Type() == reflect.TypeFor[[]Peer]():
			wrong = append(wrong, wrongPeers(f, value)...)
		case !takes(f.value, value):
			wrong = append(wrong, mistyped(f.name, f.shown(spell(value)), f.allowed()))
		}
		return nil
	})
	return wrong
}

func mistyped(key, shown, allowed string) error {
	return fmt.Errorf("%s = %s: allowed: %s", key, shown, allowed)
}

// lookUp finds the value of a dotted key.
func lookUp(tree map[string]any, key string) (value any, found bool) {
	first, rest, nested := strings.Cut(key, ".")
	value, found = tree[first]
	if !nested || !found {
		return value, found
	}
	table, ok := value.(map[string]any)
	if !ok {
		return nil, false
	}
	return lookUp(table, rest)
}

// takes reports whether a field can hold a value of the text. Ranges are judged later.
func takes(target reflect.Value, value any) bool {
	if target.Type() == reflect.TypeFor[Join]() {
		_, isFlag := value.(bool)
		list, isList := value.([]any)
		return isFlag || isList && !slices.ContainsFunc(list, func(element any) bool {
			_, isText := element.(string)
			return !isText
		})
	}
	if custom, ok := reflect.TypeAssert[encoding.TextUnmarshaler](reflect.New(target.Type())); ok {
		text, isText := value.(string)
		return isText && custom.UnmarshalText([]byte(text)) == nil
	}
	if target.Kind() == reflect.Slice {
		list, ok := value.([]any)
		for _, element := range list {
			ok = ok && takes(reflect.New(target.Type().Elem()).Elem(), element)
		}
		return ok
	}
	switch v := value.(type) {
	case string:
		return target.Kind() == reflect.String
	case bool:
		return target.Kind() == reflect.Bool
	case int64:
		return target.CanInt() && !target.OverflowInt(v) || target.CanUint() && v >= 0
	}
	return false
}

func wrongPeers(f field, value any) (wrong []error) {
	list, ok := value.([]any)
	if !ok {
		return []error{mistyped(f.name, spell(value), f.allowed())}
	}
	for i, element := range list {
		name := fmt.Sprintf("%s[%d]", f.name, i)
		peer, ok := element.(map[string]any)
		if !ok {
			wrong = append(wrong, mistyped(name, spell(element), f.allowed()))
			continue
		}
		shape := reflect.ValueOf(Peer{})
		for j := range shape.NumField() {
			key := shape.Type().Field(j).Tag.Get("toml")
			allowed := "host:port"
			if shape.Field(j).CanUint() {
				allowed = "a number of its own, from 1"
			}
			if given, found := peer[key]; found && !takes(shape.Field(j), given) {
				wrong = append(wrong, mistyped(name+"."+key, spell(given), allowed))
			}
		}
	}
	return wrong
}

// spell prints a decoded value much as the file spelled it; a table only as what it is.
func spell(value any) string {
	switch v := value.(type) {
	case string:
		return strconv.Quote(v)
	case map[string]any:
		return "a table"
	case []any:
		parts := make([]string, len(v))
		for i, element := range v {
			parts[i] = spell(element)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(value)
}
