package bench

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// memory is what a server says of its memory.
type memory struct {
	collections       float64 // since the start
	live              float64 // bytes that the last collection found in use
	allocated, target float64 // bytes of the heap, and at how many the next collection begins
}

// memory reads the metrics of the target server.
func (l *liveLab) memory() (m memory, err error) {
	request, err := http.NewRequestWithContext(l.ctx, http.MethodGet, "http://"+l.servers[l.target].api+"/metrics", nil)
	if err != nil {
		return m, err
	}
	answer, err := l.http.Do(request)
	if err != nil {
		return m, fmt.Errorf("metrics: %w", err)
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	wanted := map[string]*float64{
		"go_gc_duration_seconds_count": &m.collections, "go_gc_heap_live_bytes": &m.live,
		"go_memstats_heap_alloc_bytes": &m.allocated, "go_memstats_next_gc_bytes": &m.target,
	}
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if field := wanted[name]; field != nil {
			if *field, err = strconv.ParseFloat(text, 64); err != nil {
				return m, fmt.Errorf("metrics: %s: %w", lines.Text(), err)
			}
			delete(wanted, name)
		}
	}
	if len(wanted) > 0 {
		return m, fmt.Errorf("metrics: %d of those that tell of the heap are missing", len(wanted))
	}
	return m, nil
}

const (
	largeGarbage = 4 << 20
	smallPause   = 16 << 20 // how far before a collection only little is allocated, so that it does not take garbage for what is in use
)

// liveHeap is what the heap of the target server holds that is in use. Garbage is made until it was collected twice: the first collection may
// have begun before what is to be counted was there, and keeps what ended while it ran.
func (l *liveLab) liveHeap() (float64, error) {
	first, err := l.memory()
	if err != nil {
		return 0, err
	}
	large := fmt.Sprintf(`{"sql":"SELECT length(repeat('x', %d))"}`, largeGarbage)
	for deadline := time.Now().Add(startPatience); ; {
		now, err := l.memory()
		switch {
		case err != nil:
			return 0, err
		case now.collections >= first.collections+2:
			return now.live, nil
		case time.Now().After(deadline):
			return 0, fmt.Errorf("the server collected garbage %.0f times within %v, want twice", now.collections-first.collections, startPatience)
		}
		body, times := large, 1
		if now.target-now.allocated < smallPause {
			body, times = selectOne(0, 0), 100
		}
		for range times {
			if err := l.ask(body); err != nil {
				return 0, err
			}
		}
	}
}
