package expr

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// jsonChangeFunction holds the functions that change documents, or lay them out.
func jsonChangeFunction(name string) (definition, bool) {
	switch name {
	case "jsonb_set", "jsonb_insert":
		f := jsonChange([]operandClass{jsonOperand, textsOperand, jsonOperand, booleanOperand}, func(w *jsonWalk, m []byte, a arguments) []byte {
			value := bytes.TrimSpace([]byte(a[2].Str()))
			if !w.Valid(value) {
				return nil
			}
			edit := &jsonEdit{jsonWalk: w, value: value, insert: name == "jsonb_insert", flag: name == "jsonb_set"}
			if len(a) > 3 {
				edit.flag = a[3].Bool()
			}
			return edit.document(m, a[1].Array())
		})
		f.optional = 1
		return f, true
	case "json_strip_nulls", "jsonb_strip_nulls":
		return jsonChange([]operandClass{jsonOperand}, func(w *jsonWalk, m []byte, _ arguments) []byte { return w.withoutNulls(m, 0) }), true
	case "jsonb_pretty":
		return definition{operands: []operandClass{jsonOperand}, result: datum.Of(datum.Text), apply: func(ctx *EvalContext, a arguments) (datum.Datum, error) {
			w := newJSONWalk(ctx)
			m, ok, err := w.follow(a[0], nil)
			if err != nil || !ok {
				return datum.Datum{}, err
			}
			out := w.laidOut(nil, m, 0)
			if w.Err != nil {
				return datum.Datum{}, w.Err
			}
			return datum.NewText(string(out)), nil
		}}, true
	}
	return definition{}, false
}

// maxJSONDepth bounds how deep functions go that go through whole documents.
const maxJSONDepth = 1000

func (w *jsonWalk) tooDeep(depth int) bool {
	if depth > maxJSONDepth && w.Err == nil {
		w.Err = fault.New(fault.LimitExceeded, "the JSON document is nested deeper than %d levels", maxJSONDepth)
	}
	return w.Err != nil
}

// jsonEdit puts a value into a document: in the place of another one, or beside it.
type jsonEdit struct {
	*jsonWalk
	value  []byte
	insert bool // jsonb_insert
	flag   bool // of jsonb_set, that what is missing is created; of jsonb_insert, that the value goes behind the place
}

func (e *jsonEdit) document(m []byte, path []datum.Datum) []byte {
	if m = bytes.TrimSpace(m); m[0] != '{' && m[0] != '[' {
		e.Err = fault.New(fault.InvalidStatement, "cannot set a path in a scalar")
		return nil
	}
	if len(path) == 0 {
		return m
	}
	return e.at(m, path, 1)
}

// at changes what a path leads to below a part of a document.
func (e *jsonEdit) at(m []byte, path []datum.Datum, depth int) []byte {
	m = bytes.TrimSpace(m)
	switch {
	case e.tooDeep(depth):
		return nil
	case path[0].IsNull():
		e.Err = fault.New(fault.InvalidStatement, "path element at position %d is null", depth)
		return nil
	case m[0] == '{':
		return e.member(m, path, depth)
	case m[0] == '[':
		return e.element(m, path, depth)
	}
	return m
}

func (e *jsonEdit) member(m []byte, path []datum.Datum, depth int) []byte {
	found, step := false, path[0].Str()
	out := &jsonOutput{open: '{', close: '}'}
	e.EachPart(m, func(key, value []byte) bool {
		if !e.IsKey(key, step) {
			out.add(key, value)
			return e.Err == nil
		}
		found = true
		switch {
		case len(path) > 1:
			value = e.at(value, path[1:], depth+1)
		case e.insert:
			e.Err = fault.New(fault.InvalidStatement, "cannot replace existing key %q; use jsonb_set", step)
		default:
			value = e.value
		}
		out.add(key, value)
		return e.Err == nil
	})
	if !found && len(path) == 1 && (e.insert || e.flag) {
		out.add(e.AppendText(nil, step), e.value)
	}
	return out.end()
}

func (e *jsonEdit) element(m []byte, path []datum.Datum, depth int) []byte {
	index, err := strconv.ParseInt(strings.TrimSpace(path[0].Str()), 10, 32)
	if err != nil {
		e.Err = fault.New(fault.InvalidStatement, "path element at position %d is not an integer: %q", depth, path[0].Str())
		return nil
	}
	count := e.CountParts(m)
	if index < 0 {
		index += count
	}
	last := len(path) == 1
	out, at := &jsonOutput{open: '[', close: ']'}, int64(0)
	beside := last && (e.insert || e.flag && (index < 0 || index >= count))
	if beside && (index < 0 || count == 0) {
		out.add(nil, e.value)
		beside = false
	}
	e.EachPart(m, func(_, value []byte) bool {
		switch {
		case at != index:
			out.add(nil, value)
		case !last:
			out.add(nil, e.at(value, path[1:], depth+1))
		case !e.insert:
			out.add(nil, e.value)
		case e.flag:
			out.add(nil, value)
			out.add(nil, e.value)
			beside = false
		default:
			out.add(nil, e.value)
			out.add(nil, value)
			beside = false
		}
		at++
		return e.Err == nil
	})
	if beside && index >= count {
		out.add(nil, e.value)
	}
	return out.end()
}

// withoutNulls leaves members out whose value is null.
func (w *jsonWalk) withoutNulls(m []byte, depth int) []byte {
	m = bytes.TrimSpace(m)
	if w.tooDeep(depth) || m[0] != '{' && m[0] != '[' {
		return m
	}
	return w.filtered(m, func(_ int64, key, value []byte) ([]byte, bool) {
		if key != nil && bytes.Equal(bytes.TrimSpace(value), []byte("null")) {
			return nil, false
		}
		return w.withoutNulls(value, depth+1), true
	})
}

// laidOut writes a document over lines, each level four spaces further in.
func (w *jsonWalk) laidOut(out, m []byte, depth int) []byte {
	m = bytes.TrimSpace(m)
	if w.tooDeep(depth) || m[0] != '{' && m[0] != '[' {
		return append(out, w.Compacted(m)...)
	}
	line := func(depth int) {
		out = append(out, '\n')
		for range depth {
			out = append(out, "    "...)
		}
	}
	out = append(out, m[0])
	first := true
	w.EachPart(m, func(key, value []byte) bool {
		if !first {
			out = append(out, ',')
		}
		first = false
		line(depth + 1)
		if key != nil {
			out = append(append(out, w.Compacted(key)...), ": "...)
		}
		out = w.laidOut(out, value, depth+1)
		if err := limitBytes(len(out)); err != nil && w.Err == nil {
			w.Err = err
		}
		return w.Err == nil
	})
	line(depth)
	return append(out, m[0]+2)
}
