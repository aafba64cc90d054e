package main

import (
	"slices"
	"strings"
	"testing"
)

// rounds are what three systems print under one load, a row a round, ours first.
func rounds(cpus, p50s [][3]float64) [][]line {
	var all [][]line
	for i := range cpus {
		var lines []line
		for at := range systems {
			lines = append(lines, line{OpsPerS: 100, P50Millis: p50s[i][at], P99Millis: 9, CPUPer100k: cpus[i][at]})
		}
		all = append(all, lines)
	}
	return all
}

func TestTableComparesWithinRounds(t *testing.T) {
	// The machine is four times slower in the second round: ratios of medians would be others.
	cpus := [][3]float64{{1, 2.5, 3}, {4, 12, 20}, {1, 2.75, 3.5}}
	p50s := [][3]float64{{1, 1.5, 5}, {2, 4, 5}, {1, 1.75, 5}}
	measured := figures{}
	for _, l := range loads {
		measured[l] = rounds(cpus, p50s)
	}
	rows := strings.Split(table(measured), "\n")
	for _, want := range []string{
		"| 1024, 1024 | kalamdb | 100 | 1.00 | 9.00 | 1 | | | | | |",
		"| 1024, 1024 | dragonboat, 1 worker | 100 | 1.75 | 9.00 | 2.75 | 2.75 (2.50, 3.00, 2.75) | >= 2 | 1.75 (1.50, 2.00, 1.75) | >= 2 | no: p50 |",
		"| 16, 128 | dragonboat, 16 workers | 100 | 5.00 | 9.00 | 3.5 | 3.50 (3.00, 5.00, 3.50) | >= 4 | 5.00 (5.00, 2.50, 5.00) |  | no: CPU |",
	} {
		if !slices.Contains(rows, want) {
			t.Errorf("lacks %s\nin\n%s", want, strings.Join(rows, "\n"))
		}
	}
}

func TestReached(t *testing.T) {
	s := system{cpu: 2, p50: 2}
	for want, ratios := range map[string][2]float64{
		"yes": {2, 2}, "no: CPU": {1.999, 3}, "no: p50": {3, 1.999}, "no: CPU, p50": {1, 1},
	} {
		if got := reached(s, ratios[0], ratios[1]); got != want {
			t.Errorf("%v: got %q, want %q", ratios, got, want)
		}
	}
	if got := reached(system{cpu: 4}, 4, 0.1); got != "yes" {
		t.Errorf("without a goal for p50: got %q", got)
	}
}

func TestMedian(t *testing.T) {
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("of three: got %v", got)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("of four: got %v", got)
	}
}

func TestClientsAreSharedOut(t *testing.T) {
	for _, clients := range []int{1, 2, 3, 16, 256, 1024} {
		sum := 0
		for i := range nodes {
			sum += share(i+1, clients)
		}
		if sum != clients {
			t.Errorf("%d clients: %d run", clients, sum)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, s := range systems[1:] {
		o, err := parse(append(slices.Clone(s.args[1:]), "--clients", "16,1024", "--payload", "128"))
		if err != nil || !slices.Equal(o.Clients, []int{16, 1024}) {
			t.Errorf("%s: %v, %v", s.name, o, err)
		}
	}
	for _, args := range [][]string{{"--workers", "2"}, {"--payload", "7"}, {"--clients", "0"}, {"--clients", "x"}, {"--duration", "1ms"}, {"more"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}
