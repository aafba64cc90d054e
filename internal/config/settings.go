package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Setting is one key of the configuration as documentation and the settings view show it.
type Setting struct {
	Name    string   // dotted key of the file
	Value   string   // current value; *** for a secret that is set
	Env     []string // environment variables that override it
	Doc     string
	Allowed string // what values are accepted
}

// Describe lists every setting of cfg in the order of the file.
func Describe(cfg *Config) []Setting {
	var settings []Setting
	collect := func(f field) error {
		settings = append(settings, Setting{
			Name: f.name, Value: f.shown(render(f.value)), Env: f.env(),
			Doc: f.tag.Get("doc"), Allowed: f.allowed(),
		})
		return nil
	}
	// collect never fails, so walk cannot.
	_ = walk(cfg, collect)
	return settings
}

// field is one leaf of the tree.
type field struct {
	name  string
	tag   reflect.StructTag
	value reflect.Value
}

// walk visits every leaf in order and stops at the first error.
func walk(cfg *Config, visit func(field) error) error {
	return walkStruct("", reflect.ValueOf(cfg).Elem(), visit)
}

func walkStruct(prefix string, structure reflect.Value, visit func(field) error) error {
	for i := range structure.NumField() {
		tag := structure.Type().Field(i).Tag
		name := prefix + tag.Get("toml")
		value := structure.Field(i)
		var err error
		if _, leaf := tag.Lookup("doc"); leaf {
			err = visit(field{name: name, tag: tag, value: value})
		} else {
			err = walkStruct(name+".", value, visit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f field) env() []string {
	if names := f.tag.Get("env"); names != "" {
		return strings.Split(names, ",")
	}
	return nil
}

// shown hides the text of a secret that is set.
func (f field) shown(text string) string {
	if f.tag.Get("secret") != "" && text != `""` && text != "" {
		return "***"
	}
	return text
}

// bounds returns the least and greatest value of a number; ok is false when it has none.
func (f field) bounds() (least, greatest int64, ok bool) {
	low, high, found := strings.Cut(f.tag.Get("range"), "..")
	if !found {
		return 0, 0, false
	}
	least, errLow := strconv.ParseInt(low, 10, 64)
	greatest, errHigh := strconv.ParseInt(high, 10, 64)
	return least, greatest, errLow == nil && errHigh == nil
}

// allowed says in words what the field accepts.
func (f field) allowed() string {
	if least, greatest, ok := f.bounds(); ok {
		return fmt.Sprintf("whole numbers from %d to %d", least, greatest)
	}
	if words := f.tag.Get("oneof"); words != "" {
		return strings.ReplaceAll(words, "|", ", ")
	}
	switch f.value.Interface().(type) {
	case bool:
		return "true, false"
	case SnapshotPolicy:
		return "LogsSinceLast(N), Never"
	case Join:
		return "true, false, list of addresses"
	case []Peer:
		return "tables with node_id, rpc_addr, api_addr"
	case []int64:
		return "two whole numbers, [least, greatest]"
	case []string:
		return "list of text"
	}
	return "text"
}

// render prints a value as TOML spells it.
func render(value reflect.Value) string {
	switch v := value.Interface().(type) {
	case string:
		return strconv.Quote(v)
	case SnapshotPolicy:
		return strconv.Quote(v.String())
	case Join:
		return v.String()
	case []Peer:
		parts := make([]string, len(v))
		for i, peer := range v {
			parts[i] = fmt.Sprintf("{node_id = %d, rpc_addr = %q, api_addr = %q}", peer.NodeID, peer.RPCAddr, peer.APIAddr)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case []string:
		parts := make([]string, len(v))
		for i, text := range v {
			parts[i] = strconv.Quote(text)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case []int64:
		return strings.ReplaceAll(fmt.Sprint(v), " ", ", ")
	default:
		return fmt.Sprint(v)
	}
}
