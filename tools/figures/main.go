// Command figures runs the benchmarks whose figures have goals and keeps what they print in a page, with the machine and
// the commands.
//
// It takes a binary of the server, the page and how often to run everything; the rounds are run one after the other, so that an hour
// in which the machine is slow shows in all figures alike. It replaces what an earlier run left between two marks in the page; a page
// without marks gets them at its end. First comes a table: every goal, the median of the rounds, each round, and whether the
// median reaches the goal. Then what the last round printed. Nothing is written unless every benchmark ran.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// benchmarks are the commands. "kalamdb" stands for the binary that the caller names; whatever else is looked up as usual, and runs in
// the directory above this module.
var benchmarks = [][]string{
	{"kalamdb", "bench", "machine"},
	{"kalamdb", "bench", "raft", "--json", "--clients", "1,16,256,1024"},
	{"kalamdb", "bench", "raft", "--json", "--clients", "1024", "--payload", "1024"},
	{"kalamdb", "bench", "raft", "--json", "--clients", "1024", "--apply", "store"},
	{"kalamdb", "bench", "raft", "--json", "--clients", "1024", "--apply", "store", "--payload", "1024"},
	{"kalamdb", "bench", "idle", "--json"},
	{"kalamdb", "bench", "idle", "--json", "--groups", "2000"},
	{"kalamdb", "bench", "failover", "--json"},
	{"kalamdb", "bench", "restart", "--json"},
	{"kalamdb", "bench", "sql", "--json"},
	{"kalamdb", "bench", "live", "--json"},
	{"kalamdb", "bench", "cold", "--json"},
	{"kalamdb", "bench", "backup", "--json"},
	{"go", "test", "-run", "^$", "-bench", "BenchmarkFind$", "./internal/live"},
}

// The marks between which the page is ours.
const (
	head = "<!-- written by make bench from here -->"
	foot = "<!-- to here -->"
)

// mostRounds keeps a slip of the finger from taking a day: a round takes about five minutes.
const mostRounds = 20

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: figures <kalamdb binary> <page> <rounds>")
		os.Exit(2)
	}
	rounds, err := strconv.Atoi(os.Args[3])
	if err != nil || rounds < 1 || rounds > mostRounds {
		fmt.Fprintf(os.Stderr, "figures: %q rounds: want a number from 1 to %d\n", os.Args[3], mostRounds)
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], rounds); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func run(binary, path string, rounds int) error {
	page, err := os.ReadFile(path) //nolint:gosec // the page that the caller names
	if err != nil {
		return err
	}
	revision := revision()
	var measured []figures
	var last strings.Builder
	for round := 1; round <= rounds; round++ {
		last.Reset()
		found := figures{}
		for _, args := range benchmarks {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round, rounds, strings.Join(args, " "))
			before := load()
			printed, err := output(binary, args)
			if err != nil {
				return err
			}
			found.read(printed)
			fmt.Fprintf(&last, "\nLoad average %s before:\n\n```\n$ %s\n%s```\n", before, strings.Join(args, " "), printed)
		}
		measured = append(measured, found)
	}
	var section strings.Builder
	fmt.Fprintf(&section, "`make bench ROUNDS=%d` on %s, revision %s.\n\n", rounds, machine(), revision)
	section.WriteString(table(goals, measured))
	fmt.Fprintf(&section, "\nWhat round %d printed:\n%s", rounds, last.String())
	replaced, err := replace(page, section.String())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, replaced, 0o600)
}

func output(binary string, args []string) ([]byte, error) {
	name := args[0]
	if name == "kalamdb" {
		name = binary
	}
	command := exec.Command(name, args[1:]...) //nolint:gosec // the binary that the caller names, and the commands above
	command.Stderr = os.Stderr
	if name != binary {
		command.Dir = ".."
	}
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
