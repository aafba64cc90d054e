package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"
)

// MachineOptions are the flags of `kalamdb bench machine`.
type MachineOptions struct {
	Cases    []string      // which anchors, all if none
	Passes   int           // measurements of each, of which the median counts
	Duration time.Duration // of one measurement
}

// Validate names the first flag that cannot be used.
func (o MachineOptions) Validate() error {
	switch {
	case o.Passes < 1 || o.Passes > 100:
		return fmt.Errorf("--passes = %d: want 1 to 100", o.Passes)
	case o.Duration < time.Millisecond:
		return fmt.Errorf("--duration = %v: want at least 1ms", o.Duration)
	}
	for _, name := range o.Cases {
		if !slices.Contains(MachineCases(), name) {
			return fmt.Errorf("--cases: %q is no case; there are %v", name, MachineCases())
		}
	}
	return nil
}

// anchorCase is one line of `bench machine`: what a piece of work costs here, and what it cost on the machine on which
// the figures to reach were set, in an hour in which nobody else used it.
type anchorCase struct {
	Case   string  `json:"case"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Anchor float64 `json:"anchor"`
	Ratio  float64 `json:"ratio"` // value by anchor: 2 is a machine that takes twice as much
}

// anchor is one measurement that does not depend on this system.
type anchor struct {
	name  string
	cpu   float64 // us of processor time for one operation there
	part  string  // which measured thing it stands for in the ratio of the whole machine; empty for none
	build func(ctx context.Context, dir string) (anchorRun, error)
}

// anchorRun measures for about so long. The processor time is that of all processes that take part.
type anchorRun struct {
	measure func(d time.Duration) (ops int, cpu time.Duration, err error)
	close   func() error
}

// machineCase names the line for the whole machine.
const machineCase = "machine"

const kib = 1 << 10

// anchors lists what is measured. The parts of the whole machine are what replication is made of: a sync, a frame
// that is waited for, frames that follow each other, and Raft.
func anchors() []anchor {
	return []anchor{
		{"overwrite_sync_128b", 60, "", overwrite(128)},
		{"overwrite_sync_4kib", 59, "sync", overwrite(4 * kib)},
		{"overwrite_sync_16kib", 56, "sync", overwrite(16 * kib)},
		{"overwrite_sync_64kib", 58, "", overwrite(64 * kib)},
		{"overwrite_sync_256kib", 70, "", overwrite(256 * kib)},
		{"append_sync_4kib", 89, "", appendGrowing(4 * kib)},
		{"append_sync_64kib", 103, "", appendGrowing(64 * kib)},
		{"grpc_stream_window_1_128b", 72, "round trip", stream(1, 128)},
		{"grpc_stream_window_1_16kib", 83, "", stream(1, 16*kib)},
		{"grpc_stream_window_64_128b", 4.1, "stream", stream(64, 128)},
		{"grpc_stream_window_64_1kib", 5.5, "", stream(64, kib)},
		{"grpc_stream_window_64_16kib", 19, "", stream(64, 16*kib)},
		{"raft_batch_1", 5, "raft", bareRaft(1)},
		{"raft_batch_16", 3.2, "raft", bareRaft(16)},
		{"store_batch_256_128b", 1.1, "", storeBatches(256, 128)},
		{"store_batch_256_1kib", 3.6, "", storeBatches(256, kib)},
	}
}

// MachineCases are the names of the anchors.
func MachineCases() []string {
	var names []string
	for _, a := range anchors() {
		names = append(names, a.name)
	}
	return names
}

// Machine measures what this machine takes for work that does not depend on this system, and prints one JSON object for
// each case, and one for the whole machine when all its parts were measured.
func Machine(ctx context.Context, o MachineOptions, out io.Writer) error {
	if err := o.Validate(); err != nil {
		return err
	}
	chosen := anchors()
	if len(o.Cases) > 0 {
		chosen = slices.DeleteFunc(chosen, func(a anchor) bool { return !slices.Contains(o.Cases, a.name) })
	}
	c, err := calibrate(ctx, chosen)
	if err != nil {
		return err
	}
	defer c.close()
	var results []anchorCase
	for i, a := range chosen {
		one, err := c.measure(i, o.Passes, o.Duration)
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		results = append(results, one)
		if err := printJSON(out, one); err != nil {
			return err
		}
	}
	if ratio, ok := machineRatio(chosen, results); ok {
		return printJSON(out, anchorCase{Case: machineCase, Value: ratio, Unit: "ratio", Anchor: 1, Ratio: ratio})
	}
	return nil
}

// calibration is anchors that are ready to be measured, again and again.
type calibration struct {
	dir     string
	anchors []anchor
	runs    []anchorRun
}

// calibrate prepares anchors; close must follow.
func calibrate(ctx context.Context, chosen []anchor) (*calibration, error) {
	dir, err := os.MkdirTemp("", "kalamdb-machine-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	c := &calibration{dir: dir, anchors: chosen}
	for _, a := range chosen {
		run, err := a.build(ctx, dir)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("%s: %w", a.name, err)
		}
		c.runs = append(c.runs, run)
	}
	return c, nil
}

// close ends what calibrate prepared. The figures are out by then; what cannot be closed is told.
func (c *calibration) close() {
	var errs []error
	for _, run := range c.runs {
		errs = append(errs, run.close())
	}
	if err := errors.Join(append(errs, os.RemoveAll(c.dir))...); err != nil {
		fmt.Fprintln(os.Stderr, "close:", err)
	}
}

// measure returns the median of some passes over one anchor, after a short one that warms up.
func (c *calibration) measure(i, passes int, d time.Duration) (anchorCase, error) {
	var values []float64
	for pass := range passes + 1 {
		length := d
		if pass == 0 {
			length = d / 4
		}
		ops, cpu, err := c.runs[i].measure(length)
		if err != nil {
			return anchorCase{}, err
		}
		if pass > 0 && ops > 0 {
			values = append(values, float64(cpu.Nanoseconds())/1000/float64(ops))
		}
	}
	if len(values) == 0 {
		return anchorCase{}, errors.New("nothing was done")
	}
	slices.Sort(values)
	value := values[len(values)/2]
	a := c.anchors[i]
	return anchorCase{Case: a.name, Value: round(value), Unit: "cpu_us_per_op", Anchor: a.cpu, Ratio: round(value / a.cpu)}, nil
}

// machineRatio is how much more this machine takes for what replication is made of: the geometric mean over the parts,
// and within a part over its anchors. It is not known when a part was not measured.
func machineRatio(chosen []anchor, results []anchorCase) (ratio float64, ok bool) {
	logs := map[string][]float64{}
	for _, a := range anchors() {
		if a.part != "" {
			logs[a.part] = nil
		}
	}
	for i, a := range chosen {
		if a.part != "" && results[i].Ratio > 0 {
			logs[a.part] = append(logs[a.part], math.Log(results[i].Ratio))
		}
	}
	var parts []float64
	for _, of := range logs {
		if len(of) == 0 {
			return 0, false
		}
		parts = append(parts, mean(of))
	}
	slices.Sort(parts) // the same sum whatever the order of the map
	return round(math.Exp(mean(parts))), true
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// gauge measures the parts of the whole machine quickly, for a benchmark that prints the ratio beside its figures.
type gauge struct{ *calibration }

// gaugePass is the time of one of its measurements.
const gaugePass = 60 * time.Millisecond

func newGauge(ctx context.Context) (*gauge, error) {
	c, err := calibrate(ctx, slices.DeleteFunc(anchors(), func(a anchor) bool { return a.part == "" }))
	if err != nil {
		return nil, err
	}
	return &gauge{c}, nil
}

// ratio is how much more the machine takes now.
func (g *gauge) ratio() (float64, error) {
	var results []anchorCase
	for i, a := range g.anchors {
		one, err := g.measure(i, 1, gaugePass)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", a.name, err)
		}
		results = append(results, one)
	}
	ratio, _ := machineRatio(g.anchors, results)
	return ratio, nil
}
