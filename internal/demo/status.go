package demo

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const statusInterval = time.Second

// showStatus prints one line each second until ctx ends: rewritten in place on a terminal, one below the
// other elsewhere.
func showStatus(ctx context.Context, options Options, c *cluster, w *writer) {
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case now := <-tick.C:
			if ctx.Err() != nil {
				continue // the line would show a cluster that nobody asks any more
			}
			line := statusLine(context.WithoutCancel(ctx), c, w, now.Sub(last))
			last = now
			if options.Terminal {
				say(options.Out, "\r\x1b[K  %s", line)
			} else {
				say(options.Out, "  %s\n", line)
			}
		case <-ctx.Done():
			if options.Terminal {
				say(options.Out, "\n")
			}
			return
		}
	}
}

func statusLine(ctx context.Context, c *cluster, w *writer, since time.Duration) string {
	rows, p99 := w.report()
	var leading, lag []string
	for _, node := range c.nodes {
		status := node.Status(ctx)
		leading = append(leading, strconv.Itoa(status.Leading))
		lag = append(lag, strconv.FormatUint(status.Lag, 10))
	}
	return fmt.Sprintf("%.0f writes/s   p99 %.1f ms   leaders %s   lag %s   rows %d",
		float64(rows)/since.Seconds(), float64(p99.Microseconds())/1000,
		strings.Join(leading, "/"), strings.Join(lag, "/"), w.total())
}
