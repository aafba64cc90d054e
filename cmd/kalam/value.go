package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// valueText turns a cell of an answer into text. Times, which travel as numbers, become readable.
func valueText(kind string, value any) cell {
	switch v := value.(type) {
	case nil:
		return cell{null: true, left: true}
	case bool:
		return cell{text: strconv.FormatBool(v), left: true}
	case json.Number:
		return numberText(kind, v)
	case string:
		return cell{text: v, left: kind != "BigInt"}
	case []any:
		if kind == "Bytes" {
			return cell{text: bytesText(v), left: true}
		}
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return cell{text: fmt.Sprint(value), left: true}
	}
	return cell{text: string(encoded), left: true}
}

func numberText(kind string, number json.Number) cell {
	n, err := number.Int64()
	if err != nil {
		return cell{text: number.String()}
	}
	switch kind {
	case "Timestamp":
		return cell{text: moment(n, "2006-01-02 15:04:05"), left: true}
	case "DateTime":
		return cell{text: moment(n, "2006-01-02 15:04:05") + "Z", left: true}
	case "Date":
		return cell{text: time.Unix(n*86_400, 0).UTC().Format(time.DateOnly), left: true}
	case "Time":
		return cell{text: moment(n, time.TimeOnly), left: true}
	}
	return cell{text: number.String()}
}

// moment prints microseconds since 1970, with as many digits behind the second as there are.
func moment(micros int64, layout string) string {
	at := time.UnixMicro(micros).UTC()
	text := at.Format(layout)
	if fraction := at.Nanosecond() / 1000; fraction != 0 {
		text += strings.TrimRight(fmt.Sprintf(".%06d", fraction), "0")
	}
	return text
}

// bytesText prints an array of byte numbers as hexadecimal digits.
func bytesText(numbers []any) string {
	raw := make([]byte, 0, len(numbers))
	for _, number := range numbers {
		n, ok := number.(json.Number)
		if !ok {
			continue
		}
		if b, err := strconv.ParseUint(n.String(), 10, 8); err == nil {
			raw = append(raw, byte(b))
		}
	}
	return `\x` + hex.EncodeToString(raw)
}
