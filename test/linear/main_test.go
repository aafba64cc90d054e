package linear

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// binary builds the server once, for all tests that run it.
var binary = sync.OnceValues(func() (string, error) {
	if prebuilt := os.Getenv("KALAMDB_E2E_BINARY"); prebuilt != "" {
		return prebuilt, nil
	}
	overlay, err := withPoints(scratch)
	if err != nil {
		return "", err
	}
	builtWithPoints = filepath.Join(scratch, "kalamdb")
	return buildServer(builtWithPoints, "-overlay", overlay)
})

// builtWithPoints is the server that has fail points; set by binary.
var builtWithPoints string

// scratch is a directory of this process; TestMain sets it before any test runs.
var scratch string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kalamdb-linear-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	scratch = dir
	return m.Run()
}

// buildServer builds the server, with more arguments for the go command.
func buildServer(to string, more ...string) (string, error) {
	args := append([]string{"build", "-tags", "invariants", "-o", to}, more...)
	build := exec.CommandContext(context.Background(), "go", append(args, "../../cmd/kalamdb")...)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return to, nil
}
