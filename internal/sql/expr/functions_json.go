package expr

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/jsontext"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// jsonFunction holds the functions on JSON. Paths are keys (text) and indexes (whole numbers, negative
// from the end); a path that leads nowhere gives NULL, as does text that is not JSON.
func jsonFunction(name string) (definition, bool) {
	path := []operandClass{jsonOperand, anyOperand}
	at := func(result datum.Kind, convert func(*jsonWalk, []byte) datum.Datum) definition {
		return definition{
			operands: path, optional: 1, variadic: true, result: datum.Of(result),
			apply: func(ctx *EvalContext, a arguments) (datum.Datum, error) {
				w := newJSONWalk(ctx)
				found, ok, err := w.follow(a[0], a[1:])
				if err != nil || !ok {
					return datum.Datum{}, err
				}
				value := convert(w, found)
				return value, w.Err
			},
		}
	}
	switch name {
	case "json_get", "json_get_json", "json_extract_path", "jsonb_extract_path":
		return at(datum.JSON, func(w *jsonWalk, m []byte) datum.Datum { return datum.NewString(datum.JSON, w.Compacted(m)) }), true
	case "json_as_text", "json_get_text", "json_extract_path_text", "jsonb_extract_path_text":
		return at(datum.Text, jsonText), true
	case "json_get_str":
		return at(datum.Text, jsonString), true
	case "json_get_int":
		return at(datum.BigInt, func(_ *jsonWalk, m []byte) datum.Datum { return jsonNumber(m, datum.BigInt) }), true
	case "json_get_float":
		return at(datum.Double, func(_ *jsonWalk, m []byte) datum.Datum { return jsonNumber(m, datum.Double) }), true
	case "json_get_bool":
		return at(datum.Boolean, jsonBool), true
	case "json_get_array":
		return at(datum.JSON, func(w *jsonWalk, m []byte) datum.Datum {
			if m[0] != '[' {
				return datum.Datum{}
			}
			return datum.NewString(datum.JSON, w.Compacted(m))
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
		return followPath(datum.JSON, func(w *jsonWalk, m []byte) datum.Datum { return datum.NewString(datum.JSON, w.Compacted(m)) }), true
	case "json_as_text_path":
		return followPath(datum.Text, jsonText), true
	case "json_build_object", "jsonb_build_object", "json_build_array", "jsonb_build_array", "to_json", "to_jsonb":
		return jsonBuilder(strings.Replace(name, "jsonb", "json", 1)), true
	}
	return jsonOperatorFunction(name)
}

// followPath is what a path leads to that is an array of texts. In arrays they are numbers.
func followPath(result datum.Kind, convert func(*jsonWalk, []byte) datum.Datum) definition {
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
						return datum.Datum{}, w.Err
					}
				} else {
					found, ok = w.Member(found, step.Str())
				}
				found, err = bytes.TrimSpace(found), w.Err
			}
			if err != nil || !ok {
				return datum.Datum{}, err
			}
			value := convert(w, found)
			return value, w.Err
		},
	}
}

// jsonWalk goes through documents on behalf of a statement.
type jsonWalk struct{ *jsontext.Walk }

func newJSONWalk(ctx *EvalContext) *jsonWalk { return &jsonWalk{jsontext.New(ctx.stopped)} }

// follow walks a path; ok is false when it leads nowhere.
func (w *jsonWalk) follow(document datum.Datum, path []datum.Datum) (found []byte, ok bool, err error) {
	current := []byte(strings.TrimSpace(document.Str()))
	if !w.Valid(current) {
		return nil, false, w.Err
	}
	for _, step := range path {
		switch {
		case step.Kind() == datum.Text:
			if current, ok = w.Member(current, step.Str()); !ok || w.Err != nil {
				return nil, false, w.Err
			}
		case step.Kind().IsInteger():
			if current, ok = w.Element(current, step.Int()); !ok || w.Err != nil {
				return nil, false, w.Err
			}
		default:
			return nil, false, fault.New(fault.InvalidStatement, "a JSON path has keys and indexes, not %s", step.Kind())
		}
		current = bytes.TrimSpace(current)
	}
	return current, true, nil
}

// elementNamed is the one of an array whose index is written as a text; there is none when the text is no whole number.
func (w *jsonWalk) elementNamed(m []byte, index string) (found []byte, ok bool) {
	if at, err := strconv.ParseInt(index, 10, 32); err == nil {
		return w.Element(m, at)
	}
	return nil, false
}

// jsonText is the value as ->> gives it: strings without quotes, null as NULL.
func jsonText(w *jsonWalk, m []byte) datum.Datum {
	switch m[0] {
	case 'n':
		return datum.Datum{}
	case '"':
		return jsonString(w, m)
	}
	return datum.NewText(w.Compacted(m))
}

func jsonString(w *jsonWalk, m []byte) datum.Datum {
	if m[0] != '"' {
		return datum.Datum{}
	}
	return datum.NewText(w.Text(m))
}

func jsonBool(_ *jsonWalk, m []byte) datum.Datum {
	switch m[0] {
	case 't':
		return datum.NewBool(true)
	case 'f':
		return datum.NewBool(false)
	}
	return datum.Datum{}
}

// jsonNumber is NULL for anything but a number that the kind holds.
func jsonNumber(m []byte, k datum.Kind) datum.Datum {
	if m[0] != '-' && (m[0] < '0' || m[0] > '9') {
		return datum.Datum{}
	}
	value, err := datum.ParseText(string(m), datum.Of(k))
	if err != nil {
		return datum.Datum{}
	}
	return value
}

func jsonLength(w *jsonWalk, m []byte) datum.Datum {
	switch m[0] {
	case '[':
		return datum.NewBigInt(w.CountParts(m))
	case '{':
		if keys, ok := w.objectKeys(m); ok {
			return datum.NewBigInt(int64(len(keys)))
		}
	}
	return datum.Datum{}
}

// objectKeys returns the distinct keys of an object in the order in which they are written.
func (w *jsonWalk) objectKeys(m []byte) ([]string, bool) {
	keys := []string{}
	seen := map[string]bool{}
	if len(m) == 0 || m[0] != '{' {
		return nil, false
	}
	w.EachPart(m, func(written, _ []byte) bool {
		if key := w.Text(written); !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
		return true
	})
	return keys, true
}

func jsonKeys(w *jsonWalk, m []byte) datum.Datum {
	keys, ok := w.objectKeys(m)
	if !ok {
		return datum.Datum{}
	}
	out := []byte{'['}
	for i, key := range keys {
		if i > 0 {
			out = append(out, ',')
		}
		out = w.AppendText(out, key)
	}
	return datum.NewString(datum.JSON, string(append(out, ']')))
}

func jsonTypeName(_ *jsonWalk, m []byte) datum.Datum {
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
			out = w.AppendText(out, string(datum.AppendText(nil, value)))
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
		return w.AppendText(dst, d.Str()), w.Err
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
		return w.AppendText(dst, string(datum.AppendText(nil, d))), w.Err
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
