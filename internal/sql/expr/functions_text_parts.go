package expr

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// splitPart returns field n, counted from 1, or from the end when negative.
func splitPart(a arguments) (datum.Datum, error) {
	text, separator, n := a[0].Str(), a[1].Str(), a[2].Int()
	if n == 0 {
		return datum.Datum{}, fault.New(fault.InvalidStatement, "field position of split_part must not be zero")
	}
	count := int64(1)
	if separator != "" {
		count += int64(strings.Count(text, separator))
	}
	if n < 0 {
		n += count + 1
	}
	if n < 1 || n > count {
		return datum.NewText(""), nil
	}
	for range n - 1 {
		_, text, _ = strings.Cut(text, separator)
	}
	if separator != "" {
		text, _, _ = strings.Cut(text, separator)
	}
	return datum.NewText(text), nil
}

// overlaid is overlay(text, replacement, from, length): the length of the replacement by default.
func overlaid(a arguments) (datum.Datum, error) {
	text, replacement, from := a[0].Str(), a[1].Str(), a[2].Int()
	length := int64(utf8.RuneCountInString(replacement))
	if len(a) == 4 {
		length = a[3].Int()
	}
	if from < 1 || length < 0 {
		return datum.Datum{}, fault.New(fault.OutOfRange, "overlay must start at 1 or later with a length of 0 or more")
	}
	count := int64(utf8.RuneCountInString(text))
	head := cutRunes(text, 0, min(from-1, count))
	tail := ""
	if length < count && from-1+length < count {
		tail = cutRunes(text, from-1+length, count)
	}
	if err := limitBytes(len(head) + len(replacement) + len(tail)); err != nil {
		return datum.Datum{}, err
	}
	return datum.NewText(head + replacement + tail), nil
}

// joinText prints the values that are not NULL, with a separator between them.
func joinText(separator string, values []datum.Datum) (datum.Datum, error) {
	var out []byte
	first := true
	for _, value := range values {
		if value.IsNull() {
			continue
		}
		if !first {
			out = append(out, separator...)
		}
		first = false
		out = datum.AppendText(out, value)
		if err := limitBytes(len(out)); err != nil {
			return datum.Datum{}, err
		}
	}
	return datum.NewText(string(out)), nil
}

func encodeBytes(d datum.Datum, format string) (datum.Datum, error) {
	if d.Kind() != datum.Bytes && d.Kind() != datum.Text {
		return datum.Datum{}, fault.New(fault.InvalidStatement, "encode takes BYTES, not %s", d.Kind())
	}
	if err := limitBytes(2 * len(d.Str())); err != nil {
		return datum.Datum{}, err
	}
	switch strings.ToLower(format) {
	case "hex":
		return datum.NewText(hex.EncodeToString([]byte(d.Str()))), nil
	case "base64":
		return datum.NewText(base64.StdEncoding.EncodeToString([]byte(d.Str()))), nil
	}
	return datum.Datum{}, fault.New(fault.InvalidStatement, "encoding %q is not hex or base64", format)
}

func decodeBytes(text, format string) (datum.Datum, error) {
	var raw []byte
	var err error
	switch strings.ToLower(format) {
	case "hex":
		raw, err = hex.DecodeString(text)
	case "base64":
		raw, err = base64.StdEncoding.DecodeString(text)
	default:
		return datum.Datum{}, fault.New(fault.InvalidStatement, "encoding %q is not hex or base64", format)
	}
	if err != nil {
		return datum.Datum{}, fault.New(fault.InvalidStatement, "the value is not valid %s", format)
	}
	return datum.NewString(datum.Bytes, string(raw)), nil
}
