package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// demoRun is a running demo and what it printed so far.
type demoRun struct {
	process *exec.Cmd
	lines   *bufio.Scanner
	printed []string
}

func startDemo(t *testing.T, args ...string) *demoRun {
	t.Helper()
	d := &demoRun{process: exec.CommandContext(t.Context(), serverBinary, append([]string{"demo"}, args...)...)}
	d.process.SysProcAttr = childAttributes()
	out, err := d.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.process.Stderr = d.process.Stdout
	if err := d.process.Start(); err != nil {
		t.Fatal(err)
	}
	d.lines = bufio.NewScanner(out)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the demo printed:\n%s", strings.Join(d.printed, "\n"))
		}
	})
	return d
}

// until reads lines up to one that matches and returns its submatches.
func (d *demoRun) until(t *testing.T, pattern string) []string {
	t.Helper()
	wanted := regexp.MustCompile(pattern)
	for d.lines.Scan() {
		d.printed = append(d.printed, d.lines.Text())
		if match := wanted.FindStringSubmatch(d.lines.Text()); match != nil {
			return match
		}
	}
	t.Fatalf("the demo ended before it printed %s", pattern)
	return nil
}

// wait reads the rest and returns the exit code.
func (d *demoRun) wait() int {
	for d.lines.Scan() {
		d.printed = append(d.printed, d.lines.Text())
	}
	_ = d.process.Wait() // the exit code says it
	return d.process.ProcessState.ExitCode()
}

// TestDemoVerifiesEveryRow lets the demo run for its time and wants it to find each row on each node.
func TestDemoVerifiesEveryRow(t *testing.T) {
	d := startDemo(t, "--for", "2s")
	for node := 1; node <= 3; node++ {
		d.until(t, fmt.Sprintf(`node %d +http://127\.0\.0\.1:\d+$`, node))
	}
	d.until(t, `login +user demo`)
	d.until(t, `writes/s +p99 .* leaders \d+/\d+/\d+ +lag \d+/\d+/\d+`)
	rows := d.until(t, `verifying (\d+) acknowledged rows`)[1]
	for node := 1; node <= 3; node++ {
		if match := d.until(t, fmt.Sprintf(`node %d +(\d+) of (\d+)$`, node)); match[1] != rows || match[2] != rows {
			t.Errorf("node %d has %s of %s rows, want %s", node, match[1], match[2], rows)
		}
	}
	if code := d.wait(); code != 0 || rows == "0" {
		t.Errorf("exit code %d after %s rows, want 0 and some rows", code, rows)
	}
}

// TestDemoPrintsWhatWorks runs the printed request, interrupts the demo, and starts it again on its data.
func TestDemoPrintsWhatWorks(t *testing.T) {
	dir := testDir(t)
	for range 2 {
		d := startDemo(t, "--dir", dir)
		curl := d.until(t, `curl -s (\S+) -H '([^:]+): ([^']+)' -H '([^:]+): ([^']+)' -d '([^']+)'`)
		d.until(t, `writes/s`)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, curl[1], strings.NewReader(curl[6]))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set(curl[2], curl[3])
		request.Header.Set(curl[4], curl[5])
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		var raw strings.Builder
		_, err = bufio.NewReader(response.Body).WriteTo(&raw)
		_ = response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeAnswer(response.StatusCode, []byte(raw.String())); err != nil || !got.ok() || len(got.rows()) == 0 {
			t.Errorf("the printed request: %v, %v; want rows", got, err)
		}
		if err := d.process.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if code := d.wait(); code != 0 {
			t.Errorf("exit code %d after an interrupt, want 0", code)
		}
	}
}
