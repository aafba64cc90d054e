package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/peterh/liner"
)

const historyFile = "history"

// prompt reads statements from a person until the end of input or \q.
func (s *session) prompt(ctx context.Context, c settings) error {
	line := liner.NewLiner()
	line.SetCtrlCAborts(true)
	line.SetMultiLineMode(true)
	line.SetTabCompletionStyle(liner.TabPrints)
	s.prompting = true
	s.words = newWords(s.access.client)
	line.SetWordCompleter(func(text string, pos int) (string, []string, string) { return s.words.complete(ctx, text, pos) })
	if data, err := os.ReadFile(s.home.path(historyFile)); err == nil {
		_, _ = line.ReadHistory(strings.NewReader(decodeHistory(data))) // a damaged line is left out
	}
	s.typed = func() ([]string, error) { return typed(line) }
	s.say("kalam %s, %s as %s. \\? for help, \\q to end.", version(), s.access.urls[0], first(s.access.user, "the token says"))
	err := s.read(ctx, line)
	keep := s.keepHistory(line, c.UI.HistorySize)
	return errors.Join(err, keep, line.Close())
}

// read is the loop of the prompt. A failed statement does not end it.
func (s *session) read(ctx context.Context, line *liner.State) error {
	buffer := ""
	for {
		text, err := line.Prompt(s.promptText(buffer))
		switch {
		case errors.Is(err, liner.ErrPromptAborted):
			buffer = ""
			s.open = block{}
			continue
		case errors.Is(err, io.EOF):
			s.say("")
			return nil
		case err != nil:
			return fmt.Errorf("read from the terminal: %w", err)
		}
		if buffer == "" && strings.HasPrefix(strings.TrimSpace(text), `\`) {
			line.AppendHistory(text)
			if err := s.interruptible(ctx, text, line); errors.Is(err, errQuit) {
				return nil
			}
			continue
		}
		buffer = strings.TrimLeft(buffer+text+"\n", " \t\r\n")
		for {
			statement, rest, complete := split(buffer)
			if !complete {
				break
			}
			buffer = strings.TrimLeft(rest, " \t\r\n")
			if blank(statement) {
				continue
			}
			if text, fits := oneLine(statement); fits {
				line.AppendHistory(text + ";")
			}
			if ready, ok := s.open.add(statement); ok {
				_ = s.interruptible(ctx, ready, line) // it was shown
			}
		}
	}
}

// interruptible runs a statement; Ctrl-C ends it and leaves the prompt.
func (s *session) interruptible(ctx context.Context, statement string, _ *liner.State) error {
	running, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	err := s.take(running, statement)
	if err != nil && !errors.Is(err, errShown) && !errors.Is(err, errQuit) {
		s.say("%s", s.paint("31", describe(err)))
	}
	return err
}

// promptText shows the namespace, and whether a statement or a transaction goes on.
func (s *session) promptText(buffer string) string {
	name := first(s.namespace, "kalam")
	sign := "=>"
	switch {
	case buffer != "" && open(buffer):
		sign = "'>"
	case buffer != "":
		sign = "->"
	case s.open.opened():
		sign = "*>"
	}
	return name + sign + " "
}

// oneLine makes a statement fit into a line of history. One with a line break within quotes, which is part of a value, does not fit.
func oneLine(statement string) (text string, fits bool) {
	var lines []string
	begin := 0
	for line := range strings.Lines(statement) {
		kept := strings.TrimRight(line, "\r\n")
		for at := 0; at < len(kept); at++ {
			// A comment to the end of the line would swallow the rest.
			if strings.HasPrefix(kept[at:], "--") && !open(statement[:begin+at]) {
				kept = kept[:at]
			}
		}
		if begin += len(line); begin < len(statement) && open(statement[:begin]) {
			return "", false
		}
		lines = append(lines, strings.TrimSpace(kept))
	}
	return strings.Join(lines, " "), true
}

// keepHistory writes the newest lines to the history file. Statements with passwords are left out.
func (s *session) keepHistory(line *liner.State, size int) error {
	if size == 0 {
		size = 1000
	}
	if size < 0 {
		return nil
	}
	kept, err := typed(line)
	if err != nil {
		return err
	}
	kept = kept[max(0, len(kept)-size):]
	return s.home.write(historyFile, encodeHistory(kept))
}

// typed lists what was typed, now and before. Statements with passwords are left out.
func typed(line *liner.State) ([]string, error) {
	var all bytes.Buffer
	if _, err := line.WriteHistory(&all); err != nil {
		return nil, fmt.Errorf("write the history: %w", err)
	}
	var kept []string
	for text := range strings.Lines(all.String()) {
		if text = strings.TrimSpace(text); text != "" && !secret(text) {
			kept = append(kept, text)
		}
	}
	return kept, nil
}

// secret reports whether a statement names a password or a key.
func secret(text string) bool {
	upper := strings.ToUpper(text)
	return strings.Contains(upper, "PASSWORD") || strings.Contains(upper, "CREDENTIALS")
}

// encodeHistory writes one entry a line; backslashes and line ends are escaped.
func encodeHistory(lines []string) []byte {
	var b bytes.Buffer
	for _, line := range lines {
		b.WriteString(strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(line))
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func decodeHistory(data []byte) string {
	var b strings.Builder
	for line := range strings.Lines(string(data)) {
		b.WriteString(strings.NewReplacer(`\\`, `\`, `\n`, " ").Replace(line))
	}
	return b.String()
}

func (s *session) history(context.Context, string) error {
	if s.typed != nil {
		lines, err := s.typed()
		if err == nil && len(lines) > 0 {
			_, err = fmt.Fprintln(s.process.out, strings.Join(lines, "\n"))
		}
		return err
	}
	data, err := os.ReadFile(s.home.path(historyFile))
	if err != nil {
		s.say("there is no history yet; it is written when the prompt ends")
		return nil //nolint:nilerr // nothing was kept yet, and that was said
	}
	_, err = s.process.out.Write([]byte(decodeHistory(data)))
	return err
}
