package expr

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// jsonFunction holds the functions on JSON. Paths are keys (text) and indexes (whole numbers, negative
// from the end); a path that leads nowhere gives NULL, as does text that is not JSON.
func jsonFunction(name string) (definition, bool) {
	path := []operandClass{jsonOperand, anyOperand}
	at := func(result datum.Kind, convert func(*jsonWalk, json.RawMessage) datum.Datum) definition {
		return definition{
			operands: path, optional: 1, variadic: true, result: datum.Of(result),
			apply: func(ctx *EvalContext, a arguments) (datum.Datum, error) {
				w := newJSONWalk(ctx)
				found, ok, err := w.follow(a[0], a[1:])
				if err != nil || !ok {
					return datum.Datum{}, err
				}
				value := convert(w, found)
				return value, w.err
			},
		}
	}
	switch name {
	case "json_get", "json_get_json", "json_extract_path", "jsonb_extract_path":
		return at(datum.JSON, func(w *jsonWalk, m json.RawMessage) datum.Datum { return datum.NewString(datum.JSON, w.compacted(m)) }), true
	case "json_as_text", "json_get_text", "json_extract_path_text", "jsonb_extract_path_text":
		return at(datum.Text, jsonText), true
	case "json_get_str":
		return at(datum.Text, jsonString), true
	case "json_get_int":
		return at(datum.BigInt, func(_ *jsonWalk, m json.RawMessage) datum.Datum { return jsonNumber(m, datum.BigInt) }), true
	case "json_get_float":
		return at(datum.Double, func(_ *jsonWalk, m json.RawMessage) datum.Datum { return jsonNumber(m, datum.Double) }), true
	case "json_get_bool":
		return at(datum.Boolean, jsonBool), true
	case "json_get_array":
		return at(datum.JSON, func(w *jsonWalk, m json.RawMessage) datum.Datum {
			if m[0] != '[' {
				return datum.Datum{}
			}
			return datum.NewString(datum.JSON, w.compacted(m))
		}), true
	case "json_contains":
		return definition{
			operands: path, variadic: true, result: booleanType,
			apply: func(ctx *EvalContext, a arguments) (datum.Datum, error) {
				_, ok, err := newJSONWalk(ctx).follow(a[0], a[1:])
				return datum.NewBool(ok), err
			},
		}, true
	case "json_length", "json_array_length", "jsonb_array_length":
		return at(datum.BigInt, jsonLength), true
	case "json_object_keys":
		return at(datum.JSON, jsonKeys), true
	case "json_typeof", "jsonb_typeof":
		return at(datum.Text, jsonTypeName), true
	case "json_get_path":
		return followPath(datum.JSON, func(w *jsonWalk, m json.RawMessage) datum.Datum { return datum.NewString(datum.JSON, w.compacted(m)) }), true
	case "json_as_text_path":
		return followPath(datum.Text, jsonText), true
	case "json_build_object", "jsonb_build_object", "json_build_array", "jsonb_build_array", "to_json", "to_jsonb":
		return jsonBuilder(strings.Replace(name, "jsonb", "json", 1)), true
	}
	return jsonOperatorFunction(name)
}

// followPath is what a path leads to that is an array of texts. In arrays they are numbers.
func followPath(result datum.Kind, convert func(*jsonWalk, json.RawMessage) datum.Datum) definition {
	return definition{
		operands: []operandClass{jsonOperand, anyOperand}, result: datum.Of(result),
		apply: func(ctx *EvalContext, a arguments) (datum.Datum, error) {
			w := newJSONWalk(ctx)
			found, ok, err := w.follow(a[0], nil)
			for _, step := range a[1].Array() {
				if err != nil || !ok || step.IsNull() {
					return datum.Datum{}, err
				}
				if found[0] == '[' {
					if found, ok = w.elementNamed(found, step.Str()); !ok {
						return datum.Datum{}, w.err
					}
				} else {
					found, ok = w.member(found, step.Str())
				}
				found, err = bytes.TrimSpace(found), w.err
			}
			if err != nil || !ok {
				return datum.Datum{}, err
			}
			value := convert(w, found)
			return value, w.err
		},
	}
}

// follow walks a path; ok is false when it leads nowhere.
func (w *jsonWalk) follow(document datum.Datum, path []datum.Datum) (found json.RawMessage, ok bool, err error) {
	current := json.RawMessage(strings.TrimSpace(document.Str()))
	if !w.valid(current) {
		return nil, false, w.err
	}
	for _, step := range path {
		switch {
		case step.Kind() == datum.Text:
			if current, ok = w.member(current, step.Str()); !ok || w.err != nil {
				return nil, false, w.err
			}
		case step.Kind().IsInteger():
			if current, ok = w.element(current, step.Int()); !ok || w.err != nil {
				return nil, false, w.err
			}
		default:
			return nil, false, fault.New(fault.InvalidStatement, "a JSON path has keys and indexes, not %s", step.Kind())
		}
		current = bytes.TrimSpace(current)
	}
	return current, true, nil
}

// member is the last one of an object that has a key.
func (w *jsonWalk) member(m json.RawMessage, key string) (found json.RawMessage, ok bool) {
	if len(m) == 0 || m[0] != '{' {
		return nil, false
	}
	w.eachPart(m, func(written, value json.RawMessage) bool {
		if w.isKey(written, key) {
			found, ok = value, true
		}
		return true
	})
	return found, ok
}

// element is the one of an array that has an index, which counts from the end when it is negative.
func (w *jsonWalk) element(m json.RawMessage, index int64) (found json.RawMessage, ok bool) {
	if len(m) == 0 || m[0] != '[' {
		return nil, false
	}
	if index < 0 {
		index += w.countParts(m)
	}
	at := int64(-1)
	w.eachPart(m, func(_, value json.RawMessage) bool {
		at++
		found, ok = value, at == index
		return !ok
	})
	return found, ok
}

// elementNamed is the one of an array whose index is written as a text; there is none when the text is no whole number.
func (w *jsonWalk) elementNamed(m json.RawMessage, index string) (found json.RawMessage, ok bool) {
	if at, err := strconv.ParseInt(index, 10, 32); err == nil {
		return w.element(m, at)
	}
	return nil, false
}

func (w *jsonWalk) countParts(m json.RawMessage) (count int64) {
	w.eachPart(m, func(_, _ json.RawMessage) bool {
		count++
		return true
	})
	return count
}

// jsonText is the value as ->> gives it: strings without quotes, null as NULL.
func jsonText(w *jsonWalk, m json.RawMessage) datum.Datum {
	switch m[0] {
	case 'n':
		return datum.Datum{}
	case '"':
		return jsonString(w, m)
	}
	return datum.NewText(w.compacted(m))
}

func jsonString(w *jsonWalk, m json.RawMessage) datum.Datum {
	if m[0] != '"' {
		return datum.Datum{}
	}
	return datum.NewText(w.text(m))
}

func jsonBool(_ *jsonWalk, m json.RawMessage) datum.Datum {
	switch m[0] {
	case 't':
		return datum.NewBool(true)
	case 'f':
		return datum.NewBool(false)
	}
	return datum.Datum{}
}

// jsonNumber is NULL for anything but a number that the kind holds.
func jsonNumber(m json.RawMessage, k datum.Kind) datum.Datum {
	if m[0] != '-' && (m[0] < '0' || m[0] > '9') {
		return datum.Datum{}
	}
	value, err := datum.ParseText(string(m), datum.Of(k))
	if err != nil {
		return datum.Datum{}
	}
	return value
}

func jsonLength(w *jsonWalk, m json.RawMessage) datum.Datum {
	switch m[0] {
	case '[':
		return datum.NewBigInt(w.countParts(m))
	case '{':
		if keys, ok := w.objectKeys(m); ok {
			return datum.NewBigInt(int64(len(keys)))
		}
	}
	return datum.Datum{}
}

// objectKeys returns the distinct keys of an object in the order in which they are written.
func (w *jsonWalk) objectKeys(m json.RawMessage) ([]string, bool) {
	keys := []string{}
	seen := map[string]bool{}
	if len(m) == 0 || m[0] != '{' {
		return nil, false
	}
	w.eachPart(m, func(written, _ json.RawMessage) bool {
		if key := w.text(written); !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
		return true
	})
	return keys, true
}

func jsonKeys(w *jsonWalk, m json.RawMessage) datum.Datum {
	keys, ok := w.objectKeys(m)
	if !ok {
		return datum.Datum{}
	}
	out := []byte{'['}
	for i, key := range keys {
		if i > 0 {
			out = append(out, ',')
		}
		out = w.appendJSONText(out, key)
	}
	return datum.NewString(datum.JSON, string(append(out, ']')))
}

func jsonTypeName(_ *jsonWalk, m json.RawMessage) datum.Datum {
	switch m[0] {
	case '{':
		return datum.NewText("object")
	case '[':
		return datum.NewText("array")
	case '"':
		return datum.NewText("string")
	case 't', 'f':
		return datum.NewText("boolean")
	case 'n':
		return datum.NewText("null")
	}
	return datum.NewText("number")
}

func jsonBuilder(name string) definition {
	operands, variadic := []operandClass{anyOperand}, true
	optional := 1
	if name == "to_json" {
		variadic, optional = false, 0
	}
	return definition{
		operands: operands, optional: optional, variadic: variadic, takesNull: true, result: datum.Of(datum.JSON),
		apply: func(ctx *EvalContext, a arguments) (datum.Datum, error) {
			w := newJSONWalk(ctx)
			switch name {
			case "to_json":
				out, err := w.appendJSONValue(nil, a[0])
				return datum.NewString(datum.JSON, string(out)), err
			case "json_build_array":
				return w.buildJSON('[', ']', a, false)
			}
			if len(a)%2 != 0 {
				return datum.Datum{}, fault.New(fault.InvalidStatement, "json_build_object takes keys and values in pairs, got %d argument(s)", len(a))
			}
			return w.buildJSON('{', '}', a, true)
		},
	}
}

func (w *jsonWalk) buildJSON(open, end byte, values []datum.Datum, pairs bool) (datum.Datum, error) {
	out := []byte{open}
	for i, value := range values {
		isKey := pairs && i%2 == 0
		switch {
		case pairs && i%2 == 1:
			out = append(out, ':')
		case i > 0:
			out = append(out, ',')
		}
		if isKey {
			if value.IsNull() {
				return datum.Datum{}, fault.New(fault.InvalidStatement, "key %d of json_build_object must not be NULL", i/2+1)
			}
			out = w.appendJSONText(out, string(datum.AppendText(nil, value)))
			continue
		}
		var err error
		if out, err = w.appendJSONValue(out, value); err != nil {
			return datum.Datum{}, err
		}
		if err := limitBytes(len(out)); err != nil {
			return datum.Datum{}, err
		}
	}
	return datum.NewString(datum.JSON, string(append(out, end))), nil
}

// appendJSONValue writes a value as JSON knows it: numbers as numbers, JSON as itself, the rest as text.
func (w *jsonWalk) appendJSONValue(dst []byte, d datum.Datum) ([]byte, error) {
	switch d.Kind() { //nolint:exhaustive // the kinds not named share the last case
	case datum.BigInt:
		return strconv.AppendInt(dst, d.Int(), 10), nil
	case datum.JSON:
		return append(dst, d.Str()...), nil
	case datum.Text:
		return w.appendJSONText(dst, d.Str()), w.err
	case datum.Null, datum.Boolean, datum.SmallInt, datum.Int, datum.Float, datum.Double, datum.Embedding:
		return datum.AppendJSON(dst, d, datum.Type{})
	case datum.Decimal:
		return datum.AppendText(dst, d), nil
	case datum.Array:
		dst = append(dst, '[')
		for i, element := range d.Array() {
			if i > 0 {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = w.appendJSONValue(dst, element); err != nil {
				return dst, err
			}
		}
		return append(dst, ']'), nil
	default:
		return w.appendJSONText(dst, string(datum.AppendText(nil, d))), w.err
	}
}

// pathStep types a key or index; a parameter is whatever it was given as.
func (b *binder) pathStep(e Expr, node parse.Expr) (Expr, error) {
	if isUntyped(e) {
		return b.convert(e, b.fallbackType(e), node)
	}
	if !e.Type().Kind.IsInteger() && e.Type().Kind != datum.Text {
		return nil, faultAt(node, fault.InvalidStatement, "a JSON key must be TEXT or an integer, not %s", e.Type())
	}
	return e, nil
}
