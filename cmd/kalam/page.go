package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/term"
)

// page prints a text, through the pager when it is longer than the screen.
func (s *session) page(ctx context.Context, text []byte) error {
	file, ok := s.process.out.(*os.File)
	if !ok || !s.process.outTTY || !s.prompting || s.pager == "off" {
		_, err := s.process.out.Write(text)
		return err
	}
	_, height, err := term.GetSize(int(file.Fd()))
	if err != nil || bytes.Count(text, []byte("\n")) < height {
		_, err = file.Write(text)
		return err
	}
	pager := exec.CommandContext(ctx, "sh", "-c", s.pager) //nolint:gosec // the user's own pager
	pager.Stdin, pager.Stdout, pager.Stderr = bytes.NewReader(text), file, s.process.err
	if pager.Run() != nil {
		_, err = file.Write(text) // there is no such pager
		return err
	}
	return nil
}

// signOfLife shows that a statement is still running, once it takes longer than the threshold. The function it
// returns ends that.
func (s *session) signOfLife() (stop func()) {
	if !s.process.errTTY || s.options.noSpinner {
		return func() {}
	}
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		begin := time.Now()
		timer := time.NewTimer(time.Duration(s.options.threshold) * time.Millisecond)
		defer timer.Stop()
		for i := 0; ; i++ {
			select {
			case <-done:
				if i > 0 {
					_, _ = fmt.Fprint(s.process.err, "\r\x1b[K")
				}
				return
			case <-timer.C:
				frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
				_, _ = fmt.Fprintf(s.process.err, "\r%c running, %.1f s", frames[i%len(frames)], time.Since(begin).Seconds())
				timer.Reset(100 * time.Millisecond)
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
	}
}

// encode is JSON of a value that always has one.
func encode(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		return "null"
	}
	return string(data)
}

// version is that of the module this program was built from.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
