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

// figures are the lines of every round, by system and then by case.
type figures [][][]line

// inTurn measures every system under every load, round by round, prints what each prints, and then the table. Who comes first changes
// from round to round.
func (c comparison) inTurn(ctx context.Context, kalamdb string, rounds int, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	measured := make(figures, rounds)
	for r := range rounds {
		measured[r] = make([][]line, len(c.systems))
		for _, next := range c.starts {
			for i := range c.systems {
				at := (i + r) % len(c.systems)
				program := kalamdb
				if c.systems[at].other {
					program = self
				}
				lines, failed := c.systems[at].measure(ctx, program, kalamdb, next, out)
				if failed != nil {
					return failed
				}
				measured[r][at] = append(measured[r][at], lines...)
			}
		}
	}
	_, err = fmt.Fprintf(out, "\n%s:\n\n%s\n", c.about, c.table(measured))
	return err
}

// measure runs one system once.
func (s system) measure(ctx context.Context, program, kalamdb string, r start, out io.Writer) ([]line, error) {
	args := slices.Clone(s.args)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], programOfKalamDB, kalamdb)
	}
	if len(r.clients) > 0 {
		words := make([]string, len(r.clients))
		for i, n := range r.clients {
			words[i] = strconv.Itoa(n)
		}
		args = append(args, "--clients", strings.Join(words, ","), "--payload", strconv.Itoa(r.payload))
	}
	command := exec.CommandContext(ctx, program, args...) //nolint:gosec // this program, or the one that the caller names
	command.Stderr = os.Stderr
	printed, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", s.name, strings.Join(args, " "), err)
	}
	if _, err = out.Write(printed); err != nil {
		return nil, err
	}
	lines, err := readLines(printed, r.cases())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return lines, nil
}

// readLines reads what a system prints and holds it against what was asked for.
func readLines(printed []byte, cases []trial) ([]line, error) {
	rows := bytes.Split(bytes.TrimSpace(printed), []byte("\n"))
	if len(rows) != len(cases) {
		return nil, fmt.Errorf("%d lines were printed: want %d", len(rows), len(cases))
	}
	lines := make([]line, len(rows))
	for i, c := range cases {
		row := rows[i]
		if err := json.Unmarshal(row, &lines[i]); err != nil {
			return nil, fmt.Errorf("%q was printed: %w", row, err)
		}
		if !lines[i].answers(c) {
			return nil, fmt.Errorf("%q was printed, which is not what was asked for", row)
		}
	}
	return lines, nil
}

// answers reports whether the line is about a case.
func (l line) answers(c trial) bool {
	if c.clients == 0 {
		return l.CPUPercent > 0
	}
	return l.Clients == c.clients && l.PayloadBytes == c.payload && l.CPUPer100k > 0 && l.P50Millis > 0
}

// table has the medians of the rounds, and how much better ours is than each other: the median of the ratios within a round,
// and all of them, because the machine changes between rounds.
func (c comparison) table(measured figures) string {
	var b strings.Builder
	b.WriteString("| Clients, bytes | System |")
	for _, s := range c.shown {
		fmt.Fprintf(&b, " %s |", s.head)
	}
	for _, j := range c.judged {
		if j.more {
			fmt.Fprintf(&b, " %s, ours by theirs | to reach |", j.name)
		} else {
			fmt.Fprintf(&b, " %s, times ours | to reach |", j.name)
		}
	}
	b.WriteString(" Reached |\n" + strings.Repeat("|---", len(c.shown)+2*len(c.judged)+3) + "|\n")
	for k, l := range c.cases() {
		for at, s := range c.systems {
			fmt.Fprintf(&b, "| %s | %s |", l, s.name)
			for _, column := range c.shown {
				var all []float64
				for _, round := range measured {
					all = append(all, column.of(round[at][k]))
				}
				fmt.Fprintf(&b, " "+column.format+" |", median(all))
			}
			if at == 0 {
				b.WriteString(strings.Repeat(" |", 2*len(c.judged)+1) + "\n")
				continue
			}
			b.WriteString(c.judge(measured, at, k, l.clients) + "\n")
		}
	}
	return b.String()
}

// judge is the end of a row: how much better ours is in each figure, how much it is to be, and whether it is.
func (c comparison) judge(measured figures, at, k, clients int) string {
	var b strings.Builder
	var missed []string
	wanted := false
	for i, j := range c.judged {
		var gains []float64
		for _, round := range measured {
			gains = append(gains, j.gain(round[0][k], round[at][k]))
		}
		want, words := c.systems[at].wants[i](clients), ""
		if want > 0 {
			wanted, words = true, fmt.Sprintf(">= %g", want)
		}
		fmt.Fprintf(&b, " %s | %s |", spelled(gains), words)
		if median(gains) < want {
			missed = append(missed, j.name)
		}
	}
	switch {
	case len(missed) > 0:
		b.WriteString(" no: " + strings.Join(missed, ", ") + " |")
	case wanted:
		b.WriteString(" yes |")
	default:
		b.WriteString(" |")
	}
	return b.String()
}

// gain is how many times better ours is.
func (c column) gain(ours, theirs line) float64 {
	if c.more {
		return c.of(ours) / c.of(theirs)
	}
	return c.of(theirs) / c.of(ours)
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

// median of an even number is the mean of the two in the middle.
func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
