package steady

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
)

// Bounds of what is served here.
const (
	maxHeadBytes = 8 << 10
	maxBodyBytes = 64 << 10
)

// fields are the header fields that usual requests have. What they mean is the handler's matter, but for those of the second list.
var fields = func() map[string]string { //nolint:gochecknoglobals // never changed
	names := []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Content-Type", "Idempotency-Age", "Idempotency-Key", "User-Agent",
		"X-Follow-Leader", "X-Request-Id", "X-Transaction-Id",
		"Connection", "Content-Length", "Host",
	}
	known := make(map[string]string, len(names))
	for _, name := range names {
		known[strings.ToLower(name)] = name
	}
	return known
}()

// verdict is what the first bytes of a connection are.
type verdict int

const (
	whole   verdict = iota // a usual request, to its end
	partial                // nothing speaks against it yet
	unusual
)

// head is the parsed head of a request.
type head struct {
	raw    []byte // as it was received, with the empty line
	header http.Header
	host   string
	length int // of the body
}

// read takes the head of a request from the front of input. start is the line that it must begin with. A head that is the same as before
// is not parsed again.
func (h *head) read(input []byte, start string) verdict {
	if n := len(h.raw); n > 0 && len(input) >= n && bytes.Equal(input[:n], h.raw) {
		return h.body(input)
	}
	if n := min(len(input), len(start)); string(input[:n]) != start[:n] {
		return unusual
	}
	end := bytes.Index(input[:min(len(input), maxHeadBytes)], []byte("\r\n\r\n"))
	switch {
	case end < 0 && len(input) < maxHeadBytes:
		if bytes.Count(input, []byte("\n")) > bytes.Count(input, []byte("\r\n")) {
			return unusual // the head may end with other lines than those that are looked for here
		}
		return partial
	case end < len(start): // none, or a head without fields
		return unusual
	}
	h.raw, h.header, h.host, h.length = h.raw[:0], make(http.Header, 8), "", -1 //nolint:mnd // as many as there usually are
	for line := range bytes.SplitSeq(input[len(start):end], []byte("\r\n")) {
		if !h.field(line) {
			return unusual
		}
	}
	if h.host == "" || h.length < 0 {
		return unusual
	}
	h.raw = append(h.raw, input[:end+len("\r\n\r\n")]...)
	return h.body(input)
}

// body judges what follows the head.
func (h *head) body(input []byte) verdict {
	if len(input) < len(h.raw)+h.length {
		return partial
	}
	return whole
}

// field takes one line of the header; false says that it is not usual.
func (h *head) field(line []byte) bool {
	name, value, found := bytes.Cut(line, []byte(":"))
	if !found || len(name) > len("X-Transaction-Id") {
		return false
	}
	var lower [len("X-Transaction-Id")]byte
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		lower[i] = b
	}
	known, usual := fields[string(lower[:len(name)])]
	if !usual || len(h.header[known]) > 0 || known == "Host" && h.host != "" {
		return false
	}
	value = bytes.Trim(value, " \t")
	for _, b := range value {
		if b < ' ' || b > '~' {
			return false
		}
	}
	text := string(value)
	h.header[known] = []string{text}
	switch known {
	case "Host":
		h.host = text
		delete(h.header, known) // net/http gives it in Request.Host alone
		return text != "" && !strings.ContainsFunc(text, notOfHost)
	case "Connection":
		return strings.EqualFold(text, "keep-alive")
	case "Content-Length":
		return h.setLength(text)
	}
	return true
}

func (h *head) setLength(text string) bool {
	if text == "" || len(text) > len("65536") || strings.ContainsFunc(text, func(c rune) bool { return c < '0' || c > '9' }) {
		return false
	}
	length, err := strconv.Atoi(text)
	h.length = length
	return err == nil && length <= maxBodyBytes
}

func notOfHost(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(".:-_[]", c)
}
