package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// serverBinary is the server under test; TestMain sets it before any test runs.
var serverBinary string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if prebuilt := os.Getenv("KALAMDB_E2E_BINARY"); prebuilt != "" {
		serverBinary = prebuilt
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "kalamdb-e2e-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	serverBinary = filepath.Join(dir, "kalamdb")
	args := []string{"build", "-o", serverBinary, "-tags", "invariants"}
	if os.Getenv("KALAMDB_E2E_RACE") != "" {
		// RACE_TAGS of the Makefile: what it has compiled is not compiled again.
		args = append(args[:len(args)-1], "invariants,pebblegozstd", "-race")
	}
	build := exec.Command("go", append(args, "../../cmd/kalamdb")...)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the server:", err)
		return 1
	}
	return m.Run()
}
