package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// system is one of those that are measured in turn. Goals are how many times the figure of ours its own is to be; zero is none.
type system struct {
	name     string
	args     []string // behind the program, which is that of kalamdb or, for others, this one
	own      bool     // it is this one
	cpu, p50 float64
}

var systems = []system{
	{name: "kalamdb", args: []string{"bench", "raft", "--json"}},
	{name: "dragonboat, 1 worker", args: []string{"dragonboat", "--json", "--workers", "1"}, own: true, cpu: 2, p50: 2},
	{name: "dragonboat, 16 workers", args: []string{"dragonboat", "--json", "--workers", "16"}, own: true, cpu: 4},
}

// load of a case.
type load struct{ clients, payload int }

var loads = []load{{16, 128}, {256, 128}, {1024, 128}, {1024, 1024}}

// figures are the lines of every round, by load and by system.
type figures map[load][][]line

// inTurn runs every system under every load, round by round, prints what each prints, and then the table. Who comes first changes
// from round to round.
func inTurn(ctx context.Context, kalamdb string, rounds int, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	measured := figures{}
	for r := range rounds {
		for _, l := range loads {
			lines := make([]line, len(systems))
			for i := range systems {
				at := (i + r) % len(systems)
				program := kalamdb
				if systems[at].own {
					program = self
				}
				if lines[at], err = one(ctx, program, systems[at], l, out); err != nil {
					return err
				}
			}
			measured[l] = append(measured[l], lines)
		}
	}
	_, err = io.WriteString(out, "\n"+table(measured))
	return err
}

// one runs one system under one load.
func one(ctx context.Context, program string, s system, l load, out io.Writer) (line, error) {
	args := append(slices.Clone(s.args), "--clients", strconv.Itoa(l.clients), "--payload", strconv.Itoa(l.payload))
	command := exec.CommandContext(ctx, program, args...) //nolint:gosec // this program, or the one that the caller names
	command.Stderr = os.Stderr
	printed, err := command.Output()
	if err != nil {
		return line{}, fmt.Errorf("%s %s: %w", s.name, strings.Join(args, " "), err)
	}
	var result line
	if err := json.Unmarshal(printed, &result); err != nil {
		return line{}, fmt.Errorf("%s prints %q: %w", s.name, bytes.TrimSpace(printed), err)
	}
	if result.Clients != l.clients || result.PayloadBytes != l.payload || result.Groups != groups || result.CPUPer100k <= 0 || result.P50Millis <= 0 {
		return line{}, fmt.Errorf("%s prints %q, which is not what was asked for", s.name, bytes.TrimSpace(printed))
	}
	if _, err := out.Write(printed); err != nil {
		return line{}, err
	}
	return result, nil
}

// table has the medians of the rounds, and how many times ours each other figure is: the median of the ratios within a round,
// and all of them, because the machine changes between rounds.
func table(measured figures) string {
	var b strings.Builder
	b.WriteString("| Clients, bytes | System | ops/s | p50 ms | p99 ms | CPU-s/100k | CPU, times ours | to reach | p50, times ours | to reach | Reached |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, l := range loads {
		rounds := measured[l]
		for at, s := range systems {
			of := func(figure func(line) float64) []float64 {
				var all []float64
				for _, lines := range rounds {
					all = append(all, figure(lines[at]))
				}
				return all
			}
			fmt.Fprintf(&b, "| %d, %d | %s | %.0f | %.2f | %.2f | %.3g |", l.clients, l.payload, s.name,
				median(of(func(n line) float64 { return n.OpsPerS })), median(of(p50)), median(of(func(n line) float64 { return n.P99Millis })), median(of(cpu)))
			if at == 0 {
				b.WriteString(" | | | | |\n")
				continue
			}
			cpus, p50s := ratios(rounds, at, cpu), ratios(rounds, at, p50)
			fmt.Fprintf(&b, " %s | %s | %s | %s | %s |\n", spelled(cpus), wanted(s.cpu), spelled(p50s), wanted(s.p50), reached(s, median(cpus), median(p50s)))
		}
	}
	return b.String()
}

func cpu(n line) float64 { return n.CPUPer100k }
func p50(n line) float64 { return n.P50Millis }

// ratios are, for each round, the figure of a system by that of the first.
func ratios(rounds [][]line, at int, figure func(line) float64) []float64 {
	var all []float64
	for _, lines := range rounds {
		all = append(all, figure(lines[at])/figure(lines[0]))
	}
	return all
}

// spelled is the median, and the rounds behind it.
func spelled(all []float64) string {
	words := make([]string, len(all))
	for i, v := range all {
		words[i] = fmt.Sprintf("%.2f", v)
	}
	if len(all) == 1 {
		return words[0]
	}
	return fmt.Sprintf("%.2f (%s)", median(all), strings.Join(words, ", "))
}

func wanted(goal float64) string {
	if goal == 0 {
		return ""
	}
	return fmt.Sprintf(">= %g", goal)
}

func reached(s system, cpu, p50 float64) string {
	var missed []string
	if cpu < s.cpu {
		missed = append(missed, "CPU")
	}
	if p50 < s.p50 {
		missed = append(missed, "p50")
	}
	if len(missed) == 0 {
		return "yes"
	}
	return "no: " + strings.Join(missed, ", ")
}

// median of an even number is the mean of the two in the middle.
func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
