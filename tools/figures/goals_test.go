package main

import (
	"strings"
	"testing"
)

// TestTable: figures are found in what benchmarks print, the median of the rounds is held against the goal, and a goal that nothing
// was printed for is not reached.
func TestTable(t *testing.T) {
	round := func(printed string) figures {
		f := figures{}
		f.read([]byte(printed))
		return f
	}
	rounds := []figures{
		round(`{"case":"raft-spread","clients":16,"payload_bytes":128,"apply":"count","cpu_s_per_100k":9}` + "\n" +
			"goos: linux\nBenchmarkFind/1000-2   \t 1\t 40 ns/op\nBenchmarkFind/100000-2 \t 1\t 100 ns/op\t 0 B/op\n"),
		round(`{"case":"raft-spread","clients":16,"payload_bytes":128,"apply":"count","cpu_s_per_100k":9.5}` + "\n" +
			`{"kind":"crash","lost":0}`),
		round(`{"case":"raft-spread","clients":16,"payload_bytes":128,"apply":"count","cpu_s_per_100k":12}`),
	}
	got := table([]goal{
		{"a", false, 10, "s", the("count/16/128/cpu_s_per_100k")},
		{"b", false, 9.4, "s", the("count/16/128/cpu_s_per_100k")},
		{"c", true, 9.5, "s", the("count/16/128/cpu_s_per_100k")},
		{"d", false, 2, "times", ratio("BenchmarkFind/100000/ns_per_op", "BenchmarkFind/1000/ns_per_op")},
		{"e", false, 0, "writes", sum("crash/lost")},
		{"f", false, 1, "s", the("nothing")},
	}, rounds)
	want := `| a | <= 10 s | 9.5 | 9, 9.5, 12 | yes |
| b | <= 9.4 s | 9.5 | 9, 9.5, 12 | no |
| c | >= 9.5 s | 9.5 | 9, 9.5, 12 | yes |
| d | <= 2 times | 2.5 | 2.5 | no |
| e | <= 0 writes | 0 | 0 | yes |
| f | <= 1 s | not printed | | no |
`
	if !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant at the end\n%s", got, want)
	}
}

// TestReplace: a section takes the place of the one before it, and nothing else does.
func TestReplace(t *testing.T) {
	page, err := replace([]byte("# Page\n"), "one\n")
	if err != nil {
		t.Fatal(err)
	}
	page, err = replace(append(page, "after\n"...), "two\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(page); strings.Contains(got, "one") || !strings.Contains(got, "two") || !strings.HasSuffix(got, "after\n") {
		t.Errorf("got %q", got)
	}
	if _, err := replace([]byte(head+"\nno end\n"), "three\n"); err == nil {
		t.Error("a page with one mark was taken")
	}
}
