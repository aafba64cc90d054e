package httpapi

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// bufferPool lends buffers for bodies and answers.
type bufferPool struct{ pool sync.Pool }

// maxPooledBytes is the largest buffer that is kept; larger ones go to the garbage collector, so that one
// big answer does not stay in memory for ever.
const maxPooledBytes = 1 << 20

func (p *bufferPool) get() *bytes.Buffer {
	if buffer, ok := p.pool.Get().(*bytes.Buffer); ok {
		buffer.Reset()
		return buffer
	}
	return new(bytes.Buffer)
}

func (p *bufferPool) put(buffer *bytes.Buffer) {
	if buffer.Cap() <= maxPooledBytes {
		p.pool.Put(buffer)
	}
}

const successStart = `{"status":"success","results":[`

// appendSuccess renders the envelope of a response. It fails when a value has no JSON form.
func appendSuccess(dst []byte, response *exec.Response, took time.Duration) ([]byte, error) {
	dst = append(dst, successStart...)
	var err error
	for i := range response.Results {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendResult(dst, &response.Results[i]); err != nil {
			return nil, err
		}
	}
	return appendSuccessEnd(dst, response, took), nil
}

// appendSuccessEnd renders what follows the results.
func appendSuccessEnd(dst []byte, response *exec.Response, took time.Duration) []byte {
	dst = append(dst, `],"took":`...)
	dst = appendMillis(dst, took)
	if response.SingleRows {
		dst = append(dst, `,"error":null`...)
	}
	return append(dst, '}')
}

func appendResult(dst []byte, result *exec.Result) ([]byte, error) {
	dst = append(dst, '{')
	dst = appendSchema(dst, result.Columns)
	if result.HasRows {
		var err error
		if dst, err = appendRows(dst, result); err != nil {
			return nil, err
		}
	}
	return appendResultEnd(dst, result), nil
}

func appendSchema(dst []byte, columns []exec.Column) []byte {
	if len(columns) == 0 {
		return dst
	}
	dst = append(dst, `"schema":[`...)
	for i := range columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendColumn(dst, i, &columns[i])
	}
	return append(dst, `],`...)
}

// appendResultEnd renders what follows the rows of a result.
func appendResultEnd(dst []byte, result *exec.Result) []byte {
	dst = append(dst, `"row_count":`...)
	dst = strconv.AppendInt(dst, int64(result.RowCount), 10)
	if result.Message != "" {
		dst = append(dst, `,"message":`...)
		dst = datum.AppendJSONString(dst, result.Message)
	}
	dst = append(dst, `,"as_user":`...)
	dst = datum.AppendJSONString(dst, string(result.AsUser))
	return append(dst, '}')
}

func appendColumn(dst []byte, index int, column *exec.Column) []byte {
	dst = append(dst, `{"name":`...)
	dst = datum.AppendJSONString(dst, column.Name)
	dst = append(dst, `,"data_type":`...)
	dst = append(dst, column.Type.WireName()...)
	dst = append(dst, `,"index":`...)
	dst = strconv.AppendInt(dst, int64(index), 10)
	if names := column.Flags.Names(); len(names) > 0 {
		dst = append(dst, `,"flags":[`...)
		for i, name := range names {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '"')
			dst = append(dst, name...)
			dst = append(dst, '"')
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

func appendRows(dst []byte, result *exec.Result) ([]byte, error) {
	dst = append(dst, `"rows":[`...)
	var err error
	for i, row := range result.Rows {
		if dst, err = appendRow(dst, result.Columns, i, row); err != nil {
			return nil, err
		}
	}
	return append(dst, `],`...), nil
}

// appendRow renders the row of a number, counted from zero.
func appendRow(dst []byte, columns []exec.Column, number int, row []datum.Datum) ([]byte, error) {
	if len(row) != len(columns) {
		return nil, fmt.Errorf("render row %d: %d values for %d columns", number, len(row), len(columns))
	}
	if number > 0 {
		dst = append(dst, ',')
	}
	dst = append(dst, '[')
	var err error
	for j, cell := range row {
		if j > 0 {
			dst = append(dst, ',')
		}
		if dst, err = datum.AppendJSON(dst, cell, columns[j].Type); err != nil {
			return nil, fault.New(fault.OutOfRange, "column %q of row %d: %w", columns[j].Name, number+1, err)
		}
	}
	return append(dst, ']'), nil
}

// appendFailure renders the envelope of a failed request.
func appendFailure(dst []byte, f *failure, admin bool, took time.Duration) []byte {
	message, details := f.visible(admin)
	dst = append(dst, `{"status":"error","results":[],"took":`...)
	dst = appendMillis(dst, took)
	dst = append(dst, `,"error":{"code":`...)
	dst = datum.AppendJSONString(dst, string(f.code))
	dst = append(dst, `,"message":`...)
	dst = datum.AppendJSONString(dst, message)
	if details != "" {
		dst = append(dst, `,"details":`...)
		dst = datum.AppendJSONString(dst, details)
	}
	return append(dst, `}}`...)
}

// appendMillis prints a duration in milliseconds with at most three decimals, always as a fraction.
func appendMillis(dst []byte, took time.Duration) []byte {
	const microsPerMilli = 1000
	micros := math.Round(float64(took) / float64(time.Microsecond))
	start := len(dst)
	dst = strconv.AppendFloat(dst, micros/microsPerMilli, 'f', -1, 64)
	if !bytes.ContainsRune(dst[start:], '.') {
		dst = append(dst, ".0"...)
	}
	return dst
}
