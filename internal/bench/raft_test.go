package bench

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestStopsWorkerThatIsAnswering ends a cluster while one of its processes writes an answer that nobody reads.
func TestStopsWorkerThatIsAnswering(t *testing.T) {
	command := exec.CommandContext(t.Context(), "head", "-c", "1000000", "/dev/zero")
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = command.Start(); err != nil {
		t.Skipf("this machine has no head: %v", err)
	}
	reader := bufio.NewReader(out)
	if _, err = reader.Peek(1); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	if err = os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := &cluster{dir: dir, workers: []*workerProcess{{command: command, in: in, out: reader, pipe: out}}}
	begun := time.Now()
	c.stop()
	if took := time.Since(begun); took >= endPatience {
		t.Errorf("the process ended after %v, by force", took)
	}
	if _, err = os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the data is still there: %v", err)
	}
}
