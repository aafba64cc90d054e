// Command figures runs the benchmarks whose figures have goals and keeps what they print in a page, with the machine and
// the commands.
//
// It takes a binary of the server and the page, and replaces what an earlier run left between two marks in it; a page
// without marks gets them at its end. Nothing is written unless every benchmark ran.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// benchmarks are the commands, each as arguments of kalamdb.
var benchmarks = [][]string{
	{"bench", "machine"},
	{"bench", "raft", "--json", "--clients", "1,16,256,1024"},
	{"bench", "raft", "--json", "--clients", "1024", "--payload", "1024"},
	{"bench", "raft", "--json", "--clients", "1024", "--apply", "store"},
	{"bench", "raft", "--json", "--clients", "1024", "--apply", "store", "--payload", "1024"},
	{"bench", "idle", "--json"},
	{"bench", "idle", "--json", "--groups", "2000"},
	{"bench", "failover", "--json"},
	{"bench", "restart", "--json"},
}

// The marks between which the page is ours.
const (
	head = "<!-- written by make bench from here -->"
	foot = "<!-- to here -->"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: figures <kalamdb binary> <page>")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func run(binary, path string) error {
	page, err := os.ReadFile(path) //nolint:gosec // the page that the caller names
	if err != nil {
		return err
	}
	var section strings.Builder
	fmt.Fprintf(&section, "`make bench` on %s, revision %s.\n", machine(), revision())
	for _, args := range benchmarks {
		fmt.Fprintf(os.Stderr, "kalamdb %s\n", strings.Join(args, " "))
		before := load()
		printed, err := output(binary, args)
		if err != nil {
			return err
		}
		fmt.Fprintf(&section, "\nLoad average %s before:\n\n```\n$ kalamdb %s\n%s```\n", before, strings.Join(args, " "), printed)
	}
	replaced, err := replace(page, section.String())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, replaced, 0o600)
}

func output(binary string, args []string) ([]byte, error) {
	command := exec.Command(binary, args...) //nolint:gosec // the binary that the caller names
	command.Stderr = os.Stderr
	printed, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("run %v: %w", args, err)
	}
	return printed, nil
}

// replace puts a section between the marks of a page.
func replace(page []byte, section string) ([]byte, error) {
	before, rest, marked := bytes.Cut(page, []byte(head+"\n"))
	if !marked {
		return fmt.Appendf(nil, "%s\n## The last run of `make bench`\n\n%s\n%s%s\n", page, head, section, foot), nil
	}
	_, after, ended := bytes.Cut(rest, []byte(foot+"\n"))
	if !ended {
		return nil, errors.New("the mark " + foot + " is missing")
	}
	return fmt.Appendf(nil, "%s%s\n%s%s\n%s", before, head, section, foot, after), nil
}

// machine describes the processor and the system; what cannot be read is left out.
func machine() string {
	model := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	system := runtime.GOOS
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		system += " " + strings.TrimSpace(string(kernel))
	}
	return fmt.Sprintf("%d processors (%s), %s, %s", runtime.NumCPU(), model, system, runtime.Version())
}

// load is the load average of the last minute.
func load() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(raw), " ")
	return first
}

// revision is the commit that is checked out.
func revision() string {
	raw, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(raw))
}
