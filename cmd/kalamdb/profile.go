//go:build profile

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"
)

// A binary built with this tag writes a CPU profile for every five seconds that it runs into the directory that
// KALAMDB_PROFILE_DIR names. tools/pgo merges them into default.pgo, which the compiler optimises by.
func init() {
	dir := os.Getenv("KALAMDB_PROFILE_DIR")
	if dir == "" {
		return
	}
	go func() {
		for n := 0; ; n++ {
			if err := profileInto(filepath.Join(dir, fmt.Sprintf("%d-%d.pprof", os.Getpid(), n))); err != nil {
				fmt.Fprintln(os.Stderr, "profile:", err)
				return
			}
		}
	}()
}

// profileInto gives the file its name when it is whole: a process may be killed meanwhile.
func profileInto(path string) error {
	file, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	if err = pprof.StartCPUProfile(file); err != nil {
		return err
	}
	time.Sleep(5 * time.Second) // as long as a profile lasts
	pprof.StopCPUProfile()
	if err = file.Close(); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}
