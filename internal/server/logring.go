package server

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/table"
)

// maxLogLines bounds the lines of system.server_logs; the oldest make room.
const maxLogLines = 2000

// maxLogLineBytes bounds one of them; the rest is cut off.
const maxLogLineBytes = 4096

// logRing keeps the newest log lines of this node for system.server_logs.
type logRing struct {
	mu    sync.Mutex // guards lines and next
	lines []table.LogLine
	next  int // where the next line goes once the ring is full
}

func (r *logRing) add(line table.LogLine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) < maxLogLines {
		r.lines = append(r.lines, line)
		return
	}
	r.lines[r.next] = line
	r.next = (r.next + 1) % maxLogLines
}

// list gives the lines, the oldest first.
func (r *logRing) list() []table.LogLine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(append([]table.LogLine(nil), r.lines[r.next:]...), r.lines[:r.next]...)
}

// handler keeps what passes through it to another handler.
func (r *logRing) handler(inner slog.Handler) slog.Handler {
	return &ringHandler{ring: r, inner: inner}
}

// ringHandler implements slog.Handler. Lines of level info and above are kept whatever the other handler wants.
type ringHandler struct {
	ring   *logRing
	inner  slog.Handler
	target string // value of the attribute part
	prefix string // the attributes of With, printed
}

// Enabled implements slog.Handler.
func (h *ringHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || h.inner.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *ringHandler) Handle(ctx context.Context, record slog.Record) error {
	if record.Level >= slog.LevelInfo {
		message := record.Message + h.prefix
		record.Attrs(func(a slog.Attr) bool {
			message += " " + a.String()
			return len(message) < maxLogLineBytes
		})
		if len(message) > maxLogLineBytes {
			message = message[:maxLogLineBytes]
		}
		h.ring.add(table.LogLine{
			AtMicros: record.Time.UnixMicro(), Level: strings.ToLower(record.Level.String()), Target: h.target,
			Message: strings.ToValidUTF8(message, ""),
		})
	}
	if !h.inner.Enabled(ctx, record.Level) {
		return nil
	}
	return h.inner.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (h *ringHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	own := *h
	own.inner = h.inner.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key == "part" {
			own.target = a.Value.String()
			continue
		}
		own.prefix += " " + a.String()
	}
	return &own
}

// WithGroup implements slog.Handler.
func (h *ringHandler) WithGroup(name string) slog.Handler {
	own := *h
	own.inner = h.inner.WithGroup(name)
	return &own
}
