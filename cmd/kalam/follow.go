package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/client"
)

// follow prints the events of a live query until it is interrupted, its time is over or the server refuses it. Each
// event is a line of JSON in format json, and a line for people otherwise.
func (s *session) follow(ctx context.Context, sql string) error {
	ctx, interrupted := signal.NotifyContext(ctx, os.Interrupt)
	defer interrupted()
	if s.options.subscriptionTimeout > 0 {
		limited, cancel := context.WithTimeout(ctx, seconds(s.options.subscriptionTimeout))
		defer cancel()
		ctx = limited
	}
	if s.prompting {
		s.say("following; Ctrl-C ends it")
	}
	live := s.access.client.Subscribe(client.Live{SQL: strings.TrimSuffix(strings.TrimSpace(sql), ";")})
	defer live.Close()
	ready := false
	for {
		event, err := s.nextEvent(ctx, live, ready)
		switch {
		case err == nil:
		case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(ctx.Err(), context.Canceled):
			return nil
		default:
			return s.failed(err)
		}
		ready = ready || event.Kind == client.Ready
		if event.Kind == client.Reset {
			ready = false
		}
		if err := s.printEvent(event); err != nil {
			return err
		}
	}
}

// nextEvent waits for an event, before ready no longer than the first rows may take.
func (s *session) nextEvent(ctx context.Context, live *client.Subscription, ready bool) (client.Event, error) {
	limit := s.options.initialDataTimeout
	if ready || limit == 0 {
		return live.Next(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, seconds(limit))
	defer cancel()
	event, err := live.Next(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return event, fmt.Errorf("no first rows within %g s: %w", limit, err)
	}
	return event, err
}

func (s *session) printEvent(event client.Event) error {
	if s.look.format == "json" {
		line := map[string]any{"event": event.Kind, "cursor": strconv.FormatUint(event.Cursor, 10)}
		if event.Rows != nil {
			line["rows"] = event.Rows
		}
		if event.OldValues != nil {
			line["old_values"] = event.OldValues
		}
		_, err := fmt.Fprintln(s.process.out, encode(line))
		return err
	}
	marks := map[client.EventKind]string{client.Rows: " ", client.Insert: "+", client.Update: "~", client.Delete: "-"}
	mark, rows := marks[event.Kind], event.Rows
	if mark == "" {
		_, err := fmt.Fprintf(s.process.out, "· %s\n", event.Kind)
		return err
	}
	if event.Kind == client.Delete {
		rows = event.OldValues
	}
	for _, row := range rows {
		var b strings.Builder
		b.WriteString(mark)
		for _, name := range sortedKeys(row) {
			if name != "_deleted" {
				fmt.Fprintf(&b, " %s=%s", name, visible(plain(row[name])))
			}
		}
		if _, err := fmt.Fprintln(s.process.out, b.String()); err != nil {
			return err
		}
	}
	return nil
}

// plain is a value of a row without knowing its type.
func plain(value any) string {
	if value == nil {
		return "NULL"
	}
	if text, ok := value.(string); ok {
		return text
	}
	return strings.Trim(encode(value), `"`)
}
