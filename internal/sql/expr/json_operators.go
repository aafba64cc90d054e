package expr

import (
	"bytes"
	"strconv"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// jsonOperatorFunction holds what stands behind the operators on JSON, by the names that PostgreSQL has for it. As in the other
// functions, text that is not JSON gives NULL.
func jsonOperatorFunction(name string) (definition, bool) {
	two := []operandClass{jsonOperand, jsonOperand}
	withKeys := []operandClass{jsonOperand, anyOperand}
	switch name {
	case "jsonb_contains":
		return jsonTest(two, func(w *jsonWalk, m []byte, a arguments) bool { return w.holds(m, a[1]) }), true
	case "jsonb_exists":
		return jsonTest(withKeys, func(w *jsonWalk, m []byte, a arguments) bool { return w.hasKey(m, a[1].Str()) }), true
	case "jsonb_exists_any", "jsonb_exists_all":
		all := name == "jsonb_exists_all"
		return jsonTest(withKeys, func(w *jsonWalk, m []byte, a arguments) bool {
			for _, key := range a[1].Array() {
				if !key.IsNull() && w.hasKey(m, key.Str()) != all {
					return !all
				}
			}
			return all
		}), true
	case "jsonb_concat":
		return jsonChange(two, func(w *jsonWalk, m []byte, a arguments) []byte {
			other := bytes.TrimSpace([]byte(a[1].Str()))
			if !w.Valid(other) {
				return nil
			}
			return w.together(m, other)
		}), true
	case "jsonb_delete":
		return jsonChange(withKeys, func(w *jsonWalk, m []byte, a arguments) []byte { return w.withoutKeys(m, a[1]) }), true
	case "jsonb_delete_path":
		return jsonChange(withKeys, func(w *jsonWalk, m []byte, a arguments) []byte { return w.withoutPath(m, a[1].Array()) }), true
	}
	return definition{}, false
}

// jsonTest is a question about a document.
func jsonTest(operands []operandClass, test func(*jsonWalk, []byte, arguments) bool) definition {
	return definition{operands: operands, result: booleanType, apply: func(ctx *EvalContext, a arguments) (datum.Datum, error) {
		w := newJSONWalk(ctx)
		m, ok, err := w.follow(a[0], nil)
		if err != nil || !ok {
			return datum.Datum{}, err
		}
		return datum.NewBool(test(w, m, a)), w.Err
	}}
}

// jsonChange gives a document that differs from another one; nil is none.
func jsonChange(operands []operandClass, change func(*jsonWalk, []byte, arguments) []byte) definition {
	return definition{operands: operands, result: datum.Of(datum.JSON), apply: func(ctx *EvalContext, a arguments) (datum.Datum, error) {
		w := newJSONWalk(ctx)
		m, ok, err := w.follow(a[0], nil)
		if err != nil || !ok {
			return datum.Datum{}, err
		}
		changed := change(w, m, a)
		if changed == nil || w.Err != nil {
			return datum.Datum{}, w.Err
		}
		if err := limitBytes(len(changed)); err != nil {
			return datum.Datum{}, err
		}
		return datum.NewString(datum.JSON, w.Compacted(changed)), w.Err
	}}
}

// holds reports whether a document contains another one, as @> asks.
func (w *jsonWalk) holds(m []byte, other datum.Datum) bool {
	wanted := bytes.TrimSpace([]byte(other.Str()))
	if !w.Valid(wanted) {
		return false
	}
	if m[0] == '[' && wanted[0] != '[' && wanted[0] != '{' { // a scalar is in an array as if it were an array of one
		return w.anyElement(m, func(e []byte) bool { return w.sameScalar(e, wanted) })
	}
	return w.contains(m, wanted)
}

func (w *jsonWalk) contains(m, wanted []byte) bool {
	m, wanted = bytes.TrimSpace(m), bytes.TrimSpace(wanted)
	if w.Err != nil || len(m) == 0 || len(wanted) == 0 {
		return false
	}
	all := true
	switch wanted[0] {
	case '{':
		if m[0] != '{' {
			return false
		}
		w.EachPart(wanted, func(key, value []byte) bool {
			found, ok := w.Member(m, w.Text(key))
			all = ok && w.contains(found, value)
			return all
		})
		return all
	case '[':
		if m[0] != '[' {
			return false
		}
		w.EachPart(wanted, func(_, value []byte) bool {
			all = w.anyElement(m, func(e []byte) bool { return w.contains(e, value) })
			return all
		})
		return all
	}
	return w.sameScalar(m, wanted)
}

func (w *jsonWalk) anyElement(m []byte, test func([]byte) bool) (found bool) {
	w.EachPart(m, func(_, value []byte) bool {
		found = test(value)
		return !found
	})
	return found
}

// sameScalar compares numbers by their value, and texts by what they say.
func (w *jsonWalk) sameScalar(a, b []byte) bool {
	a, b = bytes.TrimSpace(a), bytes.TrimSpace(b)
	switch {
	case len(a) == 0 || len(b) == 0 || a[0] == '{' || a[0] == '[':
		return false
	case a[0] == '"' || b[0] == '"':
		return a[0] == b[0] && w.Text(a) == w.Text(b)
	case bytes.Equal(a, b):
		return true
	}
	x, _, failed := apd.NewFromString(string(a))
	y, _, alsoFailed := apd.NewFromString(string(b))
	return failed == nil && alsoFailed == nil && isNumberStart(a[0]) && isNumberStart(b[0]) && x.Cmp(y) == 0
}

func isNumberStart(c byte) bool { return c == '-' || c >= '0' && c <= '9' }

// hasKey reports whether a text is a key of an object, an element of an array, or the document itself.
func (w *jsonWalk) hasKey(m []byte, key string) bool {
	switch m[0] {
	case '{':
		_, ok := w.Member(m, key)
		return ok
	case '[':
		return w.anyElement(m, func(e []byte) bool { return e[0] == '"' && w.IsKey(e, key) })
	}
	return m[0] == '"' && w.IsKey(m, key)
}

// together is a || b: the members of two objects, those of the second one in the place of the first one's, else the elements of both.
func (w *jsonWalk) together(a, b []byte) []byte {
	if a[0] != '{' || b[0] != '{' {
		out := &jsonOutput{open: '[', close: ']'}
		for _, m := range [][]byte{a, b} {
			if m[0] != '[' {
				out.add(nil, m)
				continue
			}
			w.EachPart(m, func(_, value []byte) bool { return out.add(nil, value) })
		}
		return out.end()
	}
	replaced := map[string]bool{}
	w.EachPart(b, func(key, _ []byte) bool {
		replaced[w.Text(key)] = true
		return true
	})
	out := &jsonOutput{open: '{', close: '}'}
	w.EachPart(a, func(key, value []byte) bool { return replaced[w.Text(key)] || out.add(key, value) })
	w.EachPart(b, func(key, value []byte) bool { return out.add(key, value) })
	return out.end()
}

// withoutKeys is a - b: without a member or the texts of an array, by one key or several, or without the element at an index.
func (w *jsonWalk) withoutKeys(m []byte, which datum.Datum) []byte {
	if m[0] != '{' && m[0] != '[' {
		w.Err = fault.New(fault.InvalidStatement, "nothing can be taken out of a JSON document that is neither an object nor an array")
		return nil
	}
	if which.Kind().IsInteger() {
		if m[0] == '{' {
			w.Err = fault.New(fault.InvalidStatement, "a member of a JSON object is taken out by its key, not by a number")
			return nil
		}
		return w.withoutElement(m, which.Int())
	}
	keys := map[string]bool{}
	if which.Kind() == datum.Array {
		for _, key := range which.Array() {
			if !key.IsNull() {
				keys[key.Str()] = true
			}
		}
	} else {
		keys[which.Str()] = true
	}
	return w.filtered(m, func(_ int64, key, value []byte) ([]byte, bool) {
		if m[0] == '[' {
			return value, value[0] != '"' || !keys[w.Text(value)]
		}
		return value, !keys[w.Text(key)]
	})
}

func (w *jsonWalk) withoutElement(m []byte, index int64) []byte {
	if index < 0 {
		index += w.CountParts(m)
	}
	return w.filtered(m, func(at int64, _, value []byte) ([]byte, bool) { return value, at != index })
}

// withoutPath is a #- b: without what a path leads to.
func (w *jsonWalk) withoutPath(m []byte, path []datum.Datum) []byte {
	m = bytes.TrimSpace(m)
	if len(path) == 0 || path[0].IsNull() || len(m) == 0 || m[0] != '{' && m[0] != '[' {
		return m
	}
	step, index := path[0].Str(), int64(-1)
	if m[0] == '[' {
		number, err := strconv.ParseInt(step, 10, 32)
		if err != nil {
			w.Err = fault.New(fault.InvalidStatement, "path step %q of a JSON array is not a whole number", step)
			return nil
		}
		if index = number; index < 0 {
			index += w.CountParts(m)
		}
	}
	return w.filtered(m, func(at int64, key, value []byte) ([]byte, bool) {
		switch {
		case m[0] == '[' && at != index, m[0] == '{' && !w.IsKey(key, step):
			return value, true
		case len(path) == 1:
			return nil, false
		}
		return w.withoutPath(value, path[1:]), true
	})
}

// filtered is a document with the parts that keep gives.
func (w *jsonWalk) filtered(m []byte, keep func(at int64, key, value []byte) ([]byte, bool)) []byte {
	out := &jsonOutput{open: m[0], close: m[0] + 2} // brackets and braces lie two apart
	at := int64(0)
	w.EachPart(m, func(key, value []byte) bool {
		if kept, ok := keep(at, key, value); ok {
			out.add(key, kept)
		}
		at++
		return w.Err == nil
	})
	return out.end()
}

// jsonOutput writes an object or an array from parts as they are written.
type jsonOutput struct {
	open, close byte
	bytes       []byte
}

// add appends a part and returns true.
func (o *jsonOutput) add(key, value []byte) bool {
	if len(o.bytes) == 0 {
		o.bytes = append(o.bytes, o.open)
	} else {
		o.bytes = append(o.bytes, ',')
	}
	if key != nil {
		o.bytes = append(append(o.bytes, key...), ':')
	}
	o.bytes = append(o.bytes, value...)
	return true
}

func (o *jsonOutput) end() []byte {
	if len(o.bytes) == 0 {
		o.bytes = append(o.bytes, o.open)
	}
	return append(o.bytes, o.close)
}
