package expr

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
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
	convert := func(m json.RawMessage) datum.Datum { return datum.NewString(datum.JSON, compacted(m)) }
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
	c.start = func(args []datum.Datum) (RowSource, error) {
		if args[0].IsNull() {
			return rowsOf(nil), nil
		}
		parts, err := jsonParts(name, args[0].Str(), object)
		if err != nil {
			return nil, err
		}
		rows := make([][]datum.Datum, len(parts))
		for i, part := range parts {
			switch {
			case name == "json_object_keys":
				rows[i] = []datum.Datum{datum.NewText(part.key)}
			case object:
				rows[i] = []datum.Datum{datum.NewText(part.key), convert(part.value)}
			default:
				rows[i] = []datum.Datum{convert(part.value)}
			}
		}
		return rowsOf(rows), nil
	}
	return c, nil
}

// jsonPart is a member of an object or an element of an array.
type jsonPart struct {
	key   string
	value json.RawMessage
}

func jsonParts(name, text string, object bool) ([]jsonPart, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	opening, what := json.Delim('['), "an array"
	if object {
		opening, what = '{', "an object"
	}
	begin, err := decoder.Token()
	if err != nil || begin != opening || !json.Valid([]byte(text)) {
		return nil, fault.New(fault.InvalidStatement, "function %s needs %s as JSON", name, what)
	}
	var parts []jsonPart
	for decoder.More() {
		part := jsonPart{}
		if object {
			key, err := decoder.Token()
			if err != nil {
				return nil, fault.New(fault.InvalidStatement, "function %s: %w", name, err)
			}
			part.key, _ = key.(string) // a key is nothing else
		}
		if err := decoder.Decode(&part.value); err != nil {
			return nil, fault.New(fault.InvalidStatement, "function %s: %w", name, err)
		}
		part.value = bytes.TrimSpace(part.value)
		parts = append(parts, part)
	}
	return parts, nil
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
	c.start = func(args []datum.Datum) (RowSource, error) {
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
			return matches(re, args[0].Str()), nil
		}
		list, err := textsOf(re.compiled.Split(args[0].Str(), maxArrayElements+1))
		if err != nil {
			return nil, err
		}
		return each(list.Array()), nil
	}
	return c, nil
}

// matches gives the groups of the first match, or of every match with flag g.
func matches(re *compiledRegular, text string) RowSource {
	count := 1
	if re.all {
		count = -1
	}
	found := re.compiled.FindAllStringSubmatchIndex(text, count)
	row := []datum.Datum{{}}
	return func() ([]datum.Datum, error) {
		if len(found) == 0 {
			return nil, nil
		}
		row[0], found = groupsOf(text, found[0]), found[1:]
		return row, nil
	}
}
