package expr

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/jsontext"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// jsonRows gives the members of an object, the elements of an array or the keys of an object, in the order of the text.
func jsonRows(b *binder, c *TableCall, node *parse.FuncCall) (*TableCall, error) {
	if err := takes(node, c.Name, 1, 1); err != nil {
		return nil, err
	}
	document, err := b.operand(c.Args[0], jsonOperand, c.Name, 0, node.Args[0])
	if err != nil {
		return nil, err
	}
	c.Args = []Expr{document}
	name := strings.Replace(c.Name, "jsonb", "json", 1)
	value := TableColumn{"value", datum.Of(datum.JSON)}
	convert := func(w *jsonWalk, m []byte) datum.Datum { return datum.NewString(datum.JSON, w.Compacted(m)) }
	if strings.HasSuffix(name, "_text") {
		value.Type, convert = datum.Of(datum.Text), jsonText
	}
	switch {
	case name == "json_object_keys":
		c.Columns = []TableColumn{{c.Name, datum.Of(datum.Text)}}
	case strings.HasPrefix(name, "json_each"):
		c.Columns = []TableColumn{{"key", datum.Of(datum.Text)}, value}
	default:
		c.Columns = []TableColumn{value}
	}
	c.Scalar = len(c.Columns) == 1
	object := name == "json_object_keys" || strings.HasPrefix(name, "json_each")
	c.start = func(ctx *EvalContext, args []datum.Datum) (RowSource, error) {
		if args[0].IsNull() {
			return rowsOf(nil), nil
		}
		w := newJSONWalk(ctx)
		parts, err := w.partsFor(name, args[0].Str(), object)
		if err != nil {
			return nil, err
		}
		row := make([]datum.Datum, len(c.Columns))
		return func() ([]datum.Datum, error) {
			key, value, ok := w.Next(&parts)
			if !ok {
				return nil, w.Err
			}
			if object {
				row[0] = datum.NewText(w.Text(key))
			}
			if name != "json_object_keys" {
				row[len(row)-1] = convert(w, value)
			}
			return row, w.Err
		}, nil
	}
	return c, nil
}

// partsFor begins with the parts of the document that a function is given.
func (w *jsonWalk) partsFor(name, text string, object bool) (jsontext.Parts, error) {
	what := "an array"
	if object {
		what = "an object"
	}
	m := []byte(strings.TrimSpace(text))
	valid := w.Valid(m)
	if w.Err != nil {
		return jsontext.Parts{}, w.Err
	}
	if parts, ok := jsontext.PartsOf(m); valid && ok && parts.Object == object {
		return parts, nil
	}
	return jsontext.Parts{}, fault.New(fault.InvalidStatement, "function %s needs %s as JSON", name, what)
}

// textRows gives the parts of a text, or the matches of a regular expression.
func textRows(b *binder, c *TableCall, node *parse.FuncCall) (*TableCall, error) {
	if err := takes(node, c.Name, 2, 3); err != nil {
		return nil, err
	}
	for i := range c.Args {
		var err error
		if c.Args[i], err = b.operand(c.Args[i], textOperand, c.Name, i, node.Args[i]); err != nil {
			return nil, err
		}
	}
	c.Columns, c.Scalar = []TableColumn{{c.Name, datum.Of(datum.Text)}}, true
	call := &regularCall{}
	if c.Name == "regexp_matches" {
		c.Columns[0].Type = datum.Type{Kind: datum.Array, Elem: datum.Text}
	}
	c.start = func(ctx *EvalContext, args []datum.Datum) (RowSource, error) {
		if c.Name == "string_to_table" {
			list, err := stringToArray(args)
			if err != nil || list.IsNull() {
				return rowsOf(nil), err
			}
			return each(list.Array()), nil
		}
		flags := ""
		for i, value := range args {
			if value.IsNull() {
				return rowsOf(nil), nil
			}
			if i == 2 {
				flags = value.Str()
			}
		}
		re, err := call.compile(args[1].Str(), flags)
		if err != nil {
			return nil, err
		}
		if c.Name == "regexp_matches" {
			return matches(ctx, re, args[0].Str())
		}
		parts, err := re.compiled.split(ctx, args[0].Str(), maxArrayElements+1)
		if err != nil {
			return nil, err
		}
		list, err := textsOf(parts)
		if err != nil {
			return nil, err
		}
		return each(list.Array()), nil
	}
	return c, nil
}

// maxMatches bounds the matches that are kept while their rows are given.
const maxMatches = 200_000

// matches gives the groups of the first match, or of every match with flag g.
func matches(ctx *EvalContext, re *compiledRegular, text string) (RowSource, error) {
	count := 1
	if re.all {
		count = -1
	}
	var found [][]int
	err := re.compiled.each(ctx, text, count, func(match []int) error {
		if len(found) == maxMatches {
			return fault.New(fault.LimitExceeded, "regexp_matches gives at most %d matches; cut the text first", maxMatches)
		}
		found = append(found, match)
		return nil
	})
	if err != nil {
		return nil, err
	}
	row := []datum.Datum{{}}
	return func() ([]datum.Datum, error) {
		if len(found) == 0 {
			return nil, nil
		}
		row[0], found = groupsOf(text, found[0]), found[1:]
		return row, nil
	}, nil
}
