package table

import (
	"context"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// LogLine is one row of system.server_logs.
type LogLine struct {
	AtMicros int64
	Level    string // debug, info, warn or error
	Target   string // the part of the server that speaks; empty is shown as NULL
	Message  string
}

// logViews declares the view of what this node has logged lately.
func logViews() []viewDefinition {
	return []viewDefinition{{SystemNamespace, "server_logs", (*System).logRows, []viewColumn{
		text("timestamp"), text("level"), orNull(text("thread")), orNull(text("target")), orNull(bigInt("line")), text("message"),
	}}}
}

// logTime is how the view spells an instant: as texts they have the order of time.
const logTime = "2006-01-02T15:04:05.000000Z"

func (s *System) logRows(context.Context, *ViewRequest) ([][]datum.Datum, error) {
	if s.options.Logs == nil {
		return nil, nil
	}
	lines := s.options.Logs()
	rows := make([][]datum.Datum, len(lines))
	for i := range lines {
		l := &lines[i]
		at := time.UnixMicro(l.AtMicros).UTC().Format(logTime)
		rows[i] = []datum.Datum{textValue(at), textValue(l.Level), {}, optionalText(l.Target), {}, textValue(l.Message)}
	}
	return rows, nil
}
