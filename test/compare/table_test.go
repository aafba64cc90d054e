package main

import (
	"slices"
	"strings"
	"testing"
)

// chosen is the comparison of a name.
func chosen(t *testing.T, name string) comparison {
	t.Helper()
	at := slices.IndexFunc(comparisons, func(c comparison) bool { return c.name == name })
	if at < 0 {
		t.Fatalf("there is no comparison %q", name)
	}
	return comparisons[at]
}

func TestTableComparesWithinRounds(t *testing.T) {
	c := chosen(t, "dragonboat")
	// A row a round, ours first. The machine is four times slower in the second: ratios of medians would be others.
	cpus := [][3]float64{{1, 2.5, 3}, {4, 12, 20}, {1, 2.75, 3.5}}
	p50s := [][3]float64{{1, 1.5, 5}, {2, 4, 5}, {1, 1.75, 5}}
	var measured figures
	for i := range cpus {
		round := make([][]line, len(c.systems))
		for at := range c.systems {
			for range c.cases() {
				round[at] = append(round[at], line{OpsPerS: 100, P50Millis: p50s[i][at], P99Millis: 9, CPUPer100k: cpus[i][at]})
			}
		}
		measured = append(measured, round)
	}
	rows := strings.Split(c.table(measured), "\n")
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

// TestThroughputIsBetterWhenHigher holds puts against their goals, which differ by the number of clients.
func TestThroughputIsBetterWhenHigher(t *testing.T) {
	c := chosen(t, "etcd")
	ours, theirs := make([]line, len(c.cases())), make([]line, len(c.cases()))
	for i := range ours {
		ours[i] = line{OpsPerS: 190, P50Millis: 1, CPUPer100k: 1, ClientCPUPer100k: 3}
		theirs[i] = line{OpsPerS: 100, P50Millis: 2, CPUPer100k: 3, ClientCPUPer100k: 4}
	}
	rows := strings.Split(c.table(figures{{ours, theirs}}), "\n")
	for _, want := range []string{
		"| 1, 128 | etcd | 100 | 2.00 | 0.00 | 3 | 4 | 1.90 | >= 1 | 2.00 |  | 3.00 |  | yes |",
		"| 16, 128 | etcd | 100 | 2.00 | 0.00 | 3 | 4 | 1.90 |  | 2.00 |  | 3.00 |  | |",
		"| 256, 128 | etcd | 100 | 2.00 | 0.00 | 3 | 4 | 1.90 | >= 2 | 2.00 |  | 3.00 |  | no: ops/s |",
	} {
		if !slices.Contains(rows, want) {
			t.Errorf("lacks %s\nin\n%s", want, strings.Join(rows, "\n"))
		}
	}
}

func TestTablesAreWhole(t *testing.T) {
	for _, c := range comparisons {
		ours := make([][]line, len(c.systems))
		for at, s := range c.systems {
			ours[at] = make([]line, len(c.cases()))
			if at > 0 && len(s.wants) != len(c.judged) {
				t.Errorf("%s: %s has %d goals for %d figures", c.name, s.name, len(s.wants), len(c.judged))
			}
		}
		rows := strings.Split(strings.TrimSpace(c.table(figures{ours})), "\n")
		for _, row := range rows {
			if strings.Count(row, "|") != strings.Count(rows[0], "|") {
				t.Errorf("%s: %s has not the columns of %s", c.name, row, rows[0])
			}
		}
	}
}

func TestLinesAreHeldAgainstWhatWasAsked(t *testing.T) {
	good := `{"clients":16,"payload_bytes":128,"cpu_s_per_100k":1,"p50_ms":1}` + "\n"
	cases := []trial{{16, 128}, {16, 128}}
	if lines, err := readLines([]byte(good+good), cases); err != nil || len(lines) != 2 {
		t.Errorf("%v, %v", lines, err)
	}
	for _, bad := range []string{good, good + "x\n", good + strings.Replace(good, "16", "17", 1), good + strings.Replace(good, `100k":1`, `100k":0`, 1)} {
		if _, err := readLines([]byte(bad), cases); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := readLines([]byte(`{"cpu_percent_per_node":0.4}`), []trial{{}}); err != nil {
		t.Error(err)
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
	for _, c := range comparisons {
		for _, s := range c.systems {
			if !s.other {
				continue // another program's
			}
			o, err := optionsOf(s.args[0], append(slices.Clone(s.args[1:]), "--clients", "16,1024", "--payload", "128"))
			if err != nil || !slices.Equal(o.Clients, []int{16, 1024}) {
				t.Errorf("%s: %v, %v", s.name, o, err)
			}
		}
	}
	for _, args := range [][]string{
		{"--workers", "2"},
		{"--payload", "7"},
		{"--clients", "0"},
		{"--clients", "x"},
		{"--duration", "1ms"},
		{"--connections", "4"},
		{"--append-entries", "1025"},
		{"more"},
	} {
		if _, err := optionsOf("dragonboat", args); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
	if _, err := optionsOf("kalamdb", nil); err == nil {
		t.Error("kalamdb is measured without its program")
	}
}
