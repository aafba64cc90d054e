package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

const defaultNamespace = "default"

// sqlRequest is a decoded body of the SQL route.
type sqlRequest struct {
	sql       string
	namespace string
	params    []datum.Datum
	mode      string          // quorum, all, or empty for the cluster's
	reads     *executor.Reads // nil for the cluster's
}

// inMode makes what runs under the context replicate and read as the request asks for.
func (r *sqlRequest) inMode(ctx context.Context) context.Context {
	if r.reads != nil {
		ctx = executor.WithReads(ctx, *r.reads)
	}
	switch r.mode {
	case "quorum":
		return executor.WithMode(ctx, executor.Quorum)
	case "all":
		return executor.WithMode(ctx, executor.All)
	}
	return ctx
}

// readAt takes how the request's queries read: a level, and for bounded how old what they see may be.
func (r *sqlRequest) readAt(level *string, staleness string) *failure {
	var reads executor.Reads
	var err error
	if level != nil && *level != "" {
		if reads.Level, err = executor.ParseReadLevel(*level); err != nil {
			return invalidInput("read_level is one of " + strings.Join(executor.ReadLevelNames[:], ", "))
		}
	}
	if staleness != "" && staleness != "null" {
		millis, err := strconv.ParseUint(staleness, 10, 32)
		if err != nil || millis == 0 || millis > maxStalenessMillis || reads.Level != executor.Bounded {
			return invalidInput(fmt.Sprintf("max_staleness_ms goes with the read_level bounded; it is a number of milliseconds from 1 to %d",
				maxStalenessMillis))
		}
		reads.Staleness = time.Duration(millis) * time.Millisecond
	}
	if level != nil && *level != "" {
		r.reads = &reads
	}
	return nil
}

const maxStalenessMillis = 600_000

// repeat is what the headers say of a request that may be sent again.
type repeat struct {
	key string        // Idempotency-Key
	age time.Duration // Idempotency-Age: since it was sent for the first time
}

const maxRepeatKeyBytes = 128

func readRepeat(header http.Header) (repeat, *failure) {
	key, age := header.Get("Idempotency-Key"), header.Get("Idempotency-Age")
	switch {
	case key == "" && age == "":
		return repeat{}, nil
	case key == "" || len(key) > maxRepeatKeyBytes || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }):
		return repeat{}, invalidInput(fmt.Sprintf("Idempotency-Key needs 1 to %d printable ASCII characters", maxRepeatKeyBytes))
	case age == "":
		return repeat{key: key}, nil
	}
	const maxAgeMillis = 24 * 60 * 60 * 1000
	millis, err := strconv.ParseUint(age, 10, 32)
	if err != nil || millis > maxAgeMillis {
		return repeat{}, invalidInput(fmt.Sprintf("Idempotency-Age is a number of milliseconds from 0 to %d", maxAgeMillis))
	}
	// Who names an age repeats, even within a millisecond.
	return repeat{key: key, age: time.Duration(max(millis, 1)) * time.Millisecond}, nil
}

// sqlBody is the JSON form of a request. Unknown keys are ignored.
type sqlBody struct {
	SQL       *string
	Params    []json.RawMessage
	Namespace *string
	Mode      *string
	Level     *string
	Staleness json.RawMessage
}

func invalidInput(message string) *failure {
	return refusal(http.StatusBadRequest, codeInvalidInput, message)
}

func bodyTooLarge(limitBytes int64) *failure {
	return refusal(http.StatusRequestEntityTooLarge, codePayloadTooLarge,
		fmt.Sprintf("The body is larger than %d bytes", limitBytes))
}

// readSQLRequest decodes the body of a request, JSON or a multipart form. buffer is scratch space.
func readSQLRequest(r *http.Request, buffer *bytes.Buffer, limits config.Limits) (sqlRequest, *failure) {
	if given := r.Header.Get("Content-Type"); given != contentTypeJSON {
		mediaType, parameters, err := mime.ParseMediaType(given)
		if err == nil && mediaType == "multipart/form-data" {
			return readForm(multipart.NewReader(r.Body, parameters["boundary"]), limits)
		}
	}
	if _, err := buffer.ReadFrom(r.Body); err != nil {
		return sqlRequest{}, unreadable(err)
	}
	return decodeSQLBody(buffer.Bytes(), limits)
}

// unreadable judges a body that ended before it was read.
func unreadable(err error) *failure {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return bodyTooLarge(tooLarge.Limit)
	}
	return invalidInput("The body could not be read to its end")
}

// readSQLBody reads any body.
func readSQLBody(raw []byte) (body sqlBody, err error) {
	err = readObject(raw, map[string]any{
		"sql": &body.SQL, "params": &body.Params, "namespace_id": &body.Namespace, "replication_mode": &body.Mode,
		"read_level": &body.Level, "max_staleness_ms": &body.Staleness,
	}, false)
	return body, err
}

func decodeSQLBody(raw []byte, limits config.Limits) (sqlRequest, *failure) {
	if !utf8.Valid(raw) {
		return sqlRequest{}, invalidInput("The body is not valid UTF-8")
	}
	body, scanned := scanSQLBody(raw)
	if !scanned {
		var err error
		if body, err = readSQLBody(raw); err != nil {
			return sqlRequest{}, invalidInput("The body is not a JSON object of the expected form: " + err.Error())
		}
	}
	if body.SQL == nil {
		return sqlRequest{}, invalidInput(`The body needs the key "sql" with a text`)
	}
	request, f := checkSQLRequest(*body.SQL, body.Namespace, body.Mode, body.Params, limits)
	if f == nil && (body.Level != nil || body.Staleness != nil) {
		f = request.readAt(body.Level, string(body.Staleness))
	}
	return request, f
}

func checkSQLRequest(sql string, namespace, mode *string, params []json.RawMessage, limits config.Limits) (sqlRequest, *failure) {
	if int64(len(sql)) > limits.MaxSQLBytes {
		return sqlRequest{}, refusal(http.StatusBadRequest, exec.CodeInvalidSQL,
			fmt.Sprintf("The SQL text is longer than %d bytes", limits.MaxSQLBytes))
	}
	request := sqlRequest{sql: sql, namespace: defaultNamespace}
	if namespace != nil && *namespace != "" {
		request.namespace = *namespace
	}
	if mode != nil && *mode != "" {
		if request.mode = *mode; request.mode != "quorum" && request.mode != "all" {
			return sqlRequest{}, invalidInput("replication_mode is quorum or all")
		}
	}
	if len(params) > limits.MaxParams {
		return sqlRequest{}, invalidParameter("At most %d parameters are allowed, not %d", limits.MaxParams, len(params))
	}
	request.params = make([]datum.Datum, len(params))
	for i, raw := range params {
		value, problem := decodeParam(raw, limits.MaxParamBytes)
		if problem != "" {
			return sqlRequest{}, invalidParameter("Parameter $%d %s", i+1, problem)
		}
		request.params[i] = value
	}
	return request, nil
}

func invalidParameter(format string, args ...any) *failure {
	return refusal(http.StatusBadRequest, exec.CodeInvalidParameter, fmt.Sprintf(format, args...))
}

// decodeParam reads one valid JSON value; problem says why it cannot be a parameter. What counts against the
// bound is a text itself, not how JSON escapes it.
func decodeParam(raw json.RawMessage, maxBytes int64) (value datum.Datum, problem string) {
	text := string(bytes.TrimSpace(raw))
	switch {
	case text == "null" || text == "":
		return datum.Datum{}, ""
	case text == "true" || text == "false":
		return datum.NewBool(text == "true"), ""
	case text[0] == '"':
		decoded := text[1 : len(text)-1]
		if strings.IndexByte(decoded, '\\') >= 0 {
			if err := json.Unmarshal(raw, &decoded); err != nil {
				return datum.Datum{}, "is not a valid text"
			}
		}
		if int64(len(decoded)) > maxBytes {
			return datum.Datum{}, fmt.Sprintf("is larger than %d bytes", maxBytes)
		}
		return datum.NewText(decoded), ""
	case text[0] == '[' || text[0] == '{':
		return datum.Datum{}, "is an array or object; allowed are null, booleans, numbers and texts"
	}
	if int64(len(text)) > maxBytes {
		return datum.Datum{}, fmt.Sprintf("is larger than %d bytes", maxBytes)
	}
	return decodeNumber(text)
}

// decodeNumber keeps whole numbers exact: one that 64 bits cannot hold is refused, not rounded.
func decodeNumber(text string) (value datum.Datum, problem string) {
	if !strings.ContainsAny(text, ".eE") {
		whole, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return datum.Datum{}, "is a whole number beyond 64 bits; send it as a text"
		}
		return datum.NewBigInt(whole), ""
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return datum.Datum{}, "is a number beyond the range of a double; send it as a text"
	}
	return datum.NewDouble(number), ""
}

// readForm decodes the multipart form of a request. Files are refused: no column type holds them.
func readForm(form *multipart.Reader, limits config.Limits) (sqlRequest, *failure) {
	texts := make(map[string]string)
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return sqlRequest{}, unreadable(err)
		}
		switch name := part.FormName(); {
		case strings.HasPrefix(name, "file:"):
			return sqlRequest{}, refusal(http.StatusBadRequest, codeExtraFile, "This server does not accept files")
		case name == "sql" || name == "params" || name == "namespace_id" || name == "replication_mode",
			name == "read_level", name == "max_staleness_ms":
			text, err := io.ReadAll(part)
			if err != nil {
				return sqlRequest{}, unreadable(err)
			}
			if !utf8.Valid(text) {
				return sqlRequest{}, invalidInput("The part " + name + " is not valid UTF-8")
			}
			if _, twice := texts[name]; twice {
				return sqlRequest{}, invalidInput("The part " + name + " is in the form twice")
			}
			texts[name] = string(text)
		}
	}
	sql, ok := texts["sql"]
	if !ok {
		return sqlRequest{}, invalidInput(`The form needs the part "sql"`)
	}
	var params []json.RawMessage
	if text := texts["params"]; text != "" {
		if err := json.Unmarshal([]byte(text), &params); err != nil {
			return sqlRequest{}, invalidInput(`The part "params" is not a JSON array: ` + describeJSON(err))
		}
		if hasLoneSurrogate([]byte(text)) {
			return sqlRequest{}, invalidInput(`The part "params" is not a JSON array: ` + errHalfCharacter.Error())
		}
	}
	namespace, mode := texts["namespace_id"], texts["replication_mode"]
	request, f := checkSQLRequest(sql, &namespace, &mode, params, limits)
	if level, staleness := texts["read_level"], texts["max_staleness_ms"]; f == nil && level+staleness != "" {
		f = request.readAt(&level, staleness)
	}
	return request, f
}
