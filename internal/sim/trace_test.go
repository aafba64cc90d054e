package sim

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// keptEvents is how many of the last events a failure prints.
const keptEvents = 60

// trace is the hash of everything that happened, and the last events in words.
type trace struct {
	now    func() time.Duration
	hash   *xxhash.Digest
	count  uint64
	print  func(line string) // nil is quiet
	record io.Writer         // gets one line for everything that is hashed; nil gets nothing

	mu     sync.Mutex // guards events and next: whoever finds a run standing still reads them from outside
	events []string   // a ring
	next   int
}

func newTrace(now func() time.Duration) *trace {
	return &trace{now: now, hash: xxhash.New(), events: make([]string, keptEvents)}
}

// bytes adds what needs no words: frames, writes, entries.
func (t *trace) bytes(kind byte, a, b uint64, data []byte) {
	var head [25]byte
	head[0] = kind
	binary.BigEndian.PutUint64(head[1:], a)
	binary.BigEndian.PutUint64(head[9:], b)
	binary.BigEndian.PutUint64(head[17:], uint64(len(data)))
	_, _ = t.hash.Write(head[:]) // a hash cannot fail
	_, _ = t.hash.Write(data)
	t.count++
	if t.record != nil {
		_, _ = fmt.Fprintf(t.record, "%d %v %c %x %x %x\n", t.count, t.now(), kind, a, b, data) // a debugging aid
	}
}

// event adds something a person wants to read.
func (t *trace) event(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.bytes('e', 0, 0, []byte(text))
	line := fmt.Sprintf("%9.3fs %s", t.now().Seconds(), text)
	t.mu.Lock()
	t.events[t.next%keptEvents] = line
	t.next++
	t.mu.Unlock()
	if t.print != nil {
		t.print(line)
	}
}

// last returns the last events, oldest first.
func (t *trace) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var text strings.Builder
	for i := range keptEvents {
		if line := t.events[(t.next+i)%keptEvents]; line != "" {
			text.WriteString(line + "\n")
		}
	}
	return text.String()
}

func (t *trace) sum() uint64 { return t.hash.Sum64() }
