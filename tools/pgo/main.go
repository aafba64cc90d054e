// Command pgo makes the profile that the compiler optimises the server by (https://go.dev/doc/pgo).
//
// It takes a binary that was built with the tag "profile", runs the benchmarks that stand for what servers do
// all day, and merges the CPU profiles of all their processes into one file. Names of files of this machine are
// left out of it.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/google/pprof/profile"
)

// benchmarks are the loads, each as arguments of kalamdb.
var benchmarks = [][]string{
	{"bench", "raft", "--json", "--clients", "16,256,1024", "--duration", "5s"},
	{"bench", "sql", "--json", "--duration", "5s"},
	{
		"bench", "live", "--json", "--duration", "5s", "--cases",
		"subscribe,fan_out,event_1000_per_s_to_10,event_100_per_s_to_100,insert_kept,follower",
	},
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pgo <kalamdb binary with the tag profile> <file to write>")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "pgo:", err)
		os.Exit(1)
	}
}

func run(binary, to string) (err error) {
	dir, err := os.MkdirTemp("", "kalamdb-pgo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, args := range benchmarks {
		command := exec.Command(binary, args...) //nolint:gosec // the binary that the caller names
		command.Env = append(os.Environ(), "KALAMDB_PROFILE_DIR="+dir)
		command.Stdout = os.Stdout
		if err = command.Run(); err != nil {
			return fmt.Errorf("run %v: %w", args, err)
		}
	}
	merged, err := merge(dir)
	if err != nil {
		return err
	}
	return write(merged, to)
}

// merge reads all profiles of a directory.
func merge(dir string) (*profile.Profile, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.pprof"))
	if err != nil {
		return nil, err
	}
	var all []*profile.Profile
	for _, path := range paths {
		p, err := read(path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no profile in %s: was the binary built with -tags profile?", dir)
	}
	merged, err := profile.Merge(all)
	if err != nil {
		return nil, err
	}
	for _, m := range merged.Mapping {
		m.File, m.BuildID = "", ""
	}
	return merged.Compact(), nil
}

func read(path string) (*profile.Profile, error) {
	file, err := os.Open(path) //nolint:gosec // a file that was just written
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // read only
	return profile.Parse(file)
}

func write(p *profile.Profile, path string) error {
	file, err := os.Create(path) //nolint:gosec // the file that the caller names
	if err != nil {
		return err
	}
	return errors.Join(p.Write(file), file.Close())
}
