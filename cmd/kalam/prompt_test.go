package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/kalamdb/kalamdb-go/client"
)

// screen collects what a terminal shows, and wakes those who wait for something.
type screen struct {
	mu      sync.Mutex
	changed *sync.Cond
	text    bytes.Buffer
	closed  bool
}

func (s *screen) fill(from io.Reader) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		s.mu.Lock()
		s.text.Write(buffer[:n])
		s.closed = err != nil
		s.changed.Broadcast()
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// await waits until the text holds something behind position from, and returns the position behind it.
func (s *screen) await(t *testing.T, from int, want string) int {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	late := time.AfterFunc(30*time.Second, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed = true
		s.changed.Broadcast()
	})
	defer late.Stop()
	for {
		if at := strings.Index(s.text.String()[from:], want); at >= 0 {
			return from + at + len(want)
		}
		if s.closed {
			t.Fatalf("the terminal never showed %q; it shows:\n%s", want, s.text.String()[from:])
		}
		s.changed.Wait()
	}
}

// TestPrompt is a person at a terminal: a statement over two lines, an error, a completion, a command, the end. The
// history remembers the statements and not the password.
func TestPrompt(t *testing.T) {
	url := startServer(t)
	home := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "kalam") // the test binary runs main under this name
	if err = os.Symlink(self, bin); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), bin, "--url", url, "--user", "root")
	command.Env = []string{"HOME=" + home, "TERM=xterm", "KALAM_PAGER=off", "PATH=" + os.Getenv("PATH")}
	file, err := pty.StartWithSize(command, &pty.Winsize{Rows: 60, Cols: 120})
	if err != nil {
		t.Fatal(err)
	}
	shown := &screen{}
	shown.changed = sync.NewCond(&shown.mu)
	var reading sync.WaitGroup
	reading.Go(func() { shown.fill(file) })
	at := shown.await(t, 0, "Password for root: ")
	enter := func(keys string) {
		if _, failed := io.WriteString(file, keys); failed != nil {
			t.Fatal(failed)
		}
	}
	enter(password + "\r")
	for _, step := range []struct{ prompt, keys, want string }{
		{"kalam=> ", "SELECT 40 +\r", ""},
		{"kalam-> ", "2 AS answer;\r", "│     42 │"},
		{"kalam=> ", "SELECT nothing;\r", "ERROR "},
		{"kalam=> ", "SELECT 'a;\r", ""},
		{"kalam'> ", "b' AS text;\r", "a;↵b"},
		{"kalam=> ", "CREATE USER eve WITH PASSWORD 'a long secret' ROLE user;\r", "User 'eve' created"},
		{"kalam=> ", "\\tim\t\r", "timing is off"},
		{"kalam=> ", "\\q\r", ""},
	} {
		at = shown.await(t, at, step.prompt) // keys that come earlier may be dropped
		enter(step.keys)
		at = shown.await(t, at, step.want)
	}
	if err = command.Wait(); err != nil {
		t.Errorf("the program ended with %v", err)
	}
	_ = file.Close() // the reader ends with the program
	reading.Wait()
	history, err := os.ReadFile(filepath.Join(home, ".kalam", historyFile))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(history); !strings.Contains(text, "SELECT 40 + 2 AS answer;\n") || strings.Contains(text, "secret") {
		t.Errorf("the history is:\n%s", text)
	}
}

// atTerminal runs the program at a terminal of ten lines, until the test ends or it does.
func atTerminal(t *testing.T, url string, env []string, args ...string) (*exec.Cmd, *os.File, *screen) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "kalam") // the test binary runs main under this name
	if err = os.Symlink(self, bin); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), bin, append([]string{"--url", url, "--user", "root"}, args...)...)
	command.Env = append([]string{
		"HOME=" + t.TempDir(), "TERM=xterm", "PATH=" + os.Getenv("PATH"), "KALAM_PASSWORD=" + password,
	}, env...)
	file, err := pty.StartWithSize(command, &pty.Winsize{Rows: 10, Cols: 120})
	if err != nil {
		t.Fatal(err)
	}
	shown := &screen{}
	shown.changed = sync.NewCond(&shown.mu)
	var reading sync.WaitGroup
	reading.Go(func() { shown.fill(file) })
	t.Cleanup(func() {
		_ = file.Close() // the program has ended, or ends with its terminal
		reading.Wait()
	})
	return command, file, shown
}

// TestTerminalLooks: colours unless NO_COLOR or a flag forbids them, a sign of life for what takes long, the pager for what is long,
// \watch until it is interrupted.
func TestTerminalLooks(t *testing.T) {
	url := startServer(t)
	for _, look := range []struct {
		env, args []string
		want      string
	}{
		{nil, nil, "\x1b[31mERROR SQL_EXECUTION_ERROR: "},
		{[]string{"NO_COLOR=1"}, nil, "ERROR SQL_EXECUTION_ERROR: "},
		{nil, []string{"--no-color"}, "ERROR SQL_EXECUTION_ERROR: "},
	} {
		command, _, shown := atTerminal(t, url, look.env, append(look.args, "--no-spinner", "-c", "SELECT nothing")...)
		shown.await(t, 0, look.want)
		if err := command.Wait(); command.ProcessState.ExitCode() != exitFailure {
			t.Errorf("%v %v: ended with %v", look.env, look.args, err)
		}
		shown.mu.Lock()
		if text := shown.text.String(); strings.Contains(text, "\x1b[31m") != strings.HasPrefix(look.want, "\x1b") {
			t.Errorf("%v %v: the terminal shows %q", look.env, look.args, text)
		}
		shown.mu.Unlock()
	}

	command, file, shown := atTerminal(t, url, []string{"KALAM_PAGER=sed s/^/paged:/"}, "--loading-threshold-ms", "0")
	at := 0
	for _, step := range []struct{ prompt, keys, want string }{
		{"kalam=> ", "SELECT generate_series FROM generate_series(1, 3);\r", "(3 rows)"},
		{"kalam=> ", "SELECT generate_series FROM generate_series(1, 30);\r", "paged:(30 rows)"},
		{"kalam=> ", "SELECT count(*) FROM generate_series(1, 3000000);\r", "running, "},
		{"kalam=> ", "SELECT 41 + 1 AS n;\r", "│ 42 │"},
		{"kalam=> ", "\\watch 0.1\r", "(every 0.1 s)"},
		{"(every 0.1 s)", "\x03", ""},
		{"kalam=> ", "\\q\r", ""},
	} {
		at = shown.await(t, at, step.prompt)
		if _, err := io.WriteString(file, step.keys); err != nil {
			t.Fatal(err)
		}
		at = shown.await(t, at, step.want)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("the program ended with %v", err)
	}
}

// TestFirstSetup is the first person at a new server.
func TestFirstSetup(t *testing.T) {
	url := serve(t, "")
	c, err := client.New(client.Config{URLs: []string{url}, User: "root", Password: "the password of root"})
	if err != nil {
		t.Fatal(err)
	}
	ready, failed := false, error(nil) // a new server founds itself first
	for late := time.Now().Add(20 * time.Second); !ready && time.Now().Before(late); {
		ready, failed = c.NeedsSetup(t.Context())
	}
	if !ready {
		t.Fatalf("a new server does not need setup: %v", failed)
	}
	_, file, shown := atTerminal(t, url, []string{"KALAM_PASSWORD=", "KALAM_PAGER=off"})
	at := 0
	for _, step := range []struct{ prompt, keys string }{
		{"New password for root: ", "the password of root\r"},
		{"The same again: ", "the password of root\r"},
		{"Name of the administrator: ", "boss\r"},
		{"New password for boss: ", "the password of boss\r"},
		{"The same again: ", "the password of boss\r"},
		{"you are boss.", ""},
		{"kalam=> ", "SELECT CURRENT_USER(), CURRENT_ROLE();\r"},
		{"│ boss", "\\q\r"},
	} {
		at = shown.await(t, at, step.prompt)
		if _, err := io.WriteString(file, step.keys); err != nil {
			t.Fatal(err)
		}
	}
	if needed, err := c.NeedsSetup(t.Context()); needed || err != nil {
		t.Errorf("afterwards the server needs setup: %v, %v", needed, err)
	}
	var refused *client.Error
	if err := c.SetUp(t.Context(), client.Setup{User: "x", Password: "long enough", RootPassword: "long enough"}); !errors.As(err, &refused) ||
		refused.Code != "already_configured" {
		t.Errorf("a second setup: %v", err)
	}
	if _, err := c.Exec(t.Context(), "CREATE NAMESPACE mine"); err != nil {
		t.Errorf("root logs in: %v", err)
	}
}
