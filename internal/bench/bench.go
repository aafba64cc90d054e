// Package bench measures the system the way its figures are quoted: real processes on loopback, real sync.
//
// Raft and Idle start three processes of this program, each a node of the replication engine alone, and
// drive them with closed-loop clients inside the processes. Every case prints one JSON object; CPU is that
// of all three processes together. Nothing is asserted here: a benchmark measures.
//
// Only cmd/kalamdb calls it. Worker is the entry point of the processes it starts.
package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// nodes is the number of processes of a benchmark cluster.
const nodes = 3

// latencies collects samples of one client; the caller merges them at the end.
type latencies []time.Duration

// quantile returns the q-quantile in milliseconds; the samples must be sorted.
func (l latencies) quantile(q float64) float64 {
	if len(l) == 0 {
		return 0
	}
	at := min(int(q*float64(len(l))), len(l)-1)
	return float64(l[at].Microseconds()) / 1000
}

func merge(all []latencies) latencies {
	merged := slices.Concat(all...)
	slices.Sort(merged)
	return merged
}

// printJSON writes one result as a line.
func printJSON(out io.Writer, result any) error {
	line, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode a result: %w", err)
	}
	_, err = fmt.Fprintf(out, "%s\n", line)
	return err
}

// round keeps three decimals, enough for every figure here.
func round(v float64) float64 { return float64(int64(v*1000+0.5)) / 1000 }
