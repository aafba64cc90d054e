package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kalamdb/kalamdb-go/client"
)

// session is what lasts between statements.
type session struct {
	process   process
	options   options
	home      home
	access    *access
	look      look
	namespace string
	color     bool
	pager     string
	last      string // the newest statement that ran
	open      block
	words     *words                   // for completion; nil when nobody types
	depth     int                      // of files that include files
	prompting bool                     // somebody types
	typed     func() ([]string, error) // what was typed; nil when nobody types
}

// start does what the command line says.
func start(ctx context.Context, p process, o options, flags *pflag.FlagSet) error {
	h, err := findHome(p.env)
	if err != nil {
		return err
	}
	path := first(o.config, h.path("config.toml"))
	s, err := readSettings(path, o.config != "")
	if err != nil {
		return err
	}
	done, err := manage(p, o, h)
	if done || err != nil {
		return err
	}
	if s.Connection.TimeoutSeconds > 0 && !given(flags, "timeout") {
		o.timeout = s.Connection.TimeoutSeconds
	}
	if s.Connection.ConnectionTimeoutSeconds > 0 && !given(flags, "connection-timeout") {
		o.connectionTimeout = s.Connection.ConnectionTimeoutSeconds
	}
	a, err := connect(ctx, p, o, s, h)
	if err != nil {
		return err
	}
	if o.updateCredentials {
		_, err = fmt.Fprintf(p.err, "kept the tokens of %s for the instance %s\n", a.user, o.instance)
		return err
	}
	n := &session{process: p, options: o, home: h, access: a, namespace: o.namespace}
	if err := n.appearance(s); err != nil {
		return err
	}
	return n.work(ctx, s)
}

// appearance settles how things look.
func (s *session) appearance(c settings) error {
	s.look.format = first(s.options.format, c.UI.Format, "table")
	if !slices.Contains(formats, s.look.format) {
		return usagef("configuration: ui.format %q: want %s", s.look.format, strings.Join(formats, ", "))
	}
	s.look.timing = c.UI.Timing == nil || *c.UI.Timing
	s.color = s.process.errTTY && !s.options.noColor && s.process.env("NO_COLOR") == "" && (c.UI.Color == nil || *c.UI.Color)
	s.pager = first(c.UI.Pager, s.process.env("KALAM_PAGER"), s.process.env("PAGER"), "less -FRSX")
	return nil
}

// work runs what was asked for, or asks.
func (s *session) work(ctx context.Context, c settings) error {
	o := s.options
	switch {
	case o.subscribe != "":
		return s.follow(ctx, o.subscribe)
	case o.unsubscribe != "":
		return s.show(ctx, "KILL LIVE QUERY "+quote(o.unsubscribe))
	case o.listSubscriptions:
		return s.show(ctx, "SELECT live_id, user_id, namespace_id, table_name, query, created_at FROM system.live ORDER BY live_id LIMIT 1000")
	case o.consume:
		if o.consumeTimeout > 0 {
			limited, cancel := context.WithTimeout(ctx, seconds(o.consumeTimeout))
			defer cancel()
			ctx = limited
		}
		return s.show(ctx, o.consumeSQL())
	case o.command != "" && strings.HasPrefix(strings.TrimSpace(o.command), `\`):
		if err := s.meta(ctx, strings.TrimSpace(o.command)); !errors.Is(err, errQuit) {
			return err
		}
		return nil
	case o.command != "":
		return s.show(ctx, o.command)
	case o.file == "-":
		return s.script(ctx, s.process.in, "standard input")
	case o.file != "":
		return s.include(ctx, o.file)
	case !s.process.inTTY:
		return s.script(ctx, s.process.in, "standard input")
	}
	return s.prompt(ctx, c)
}

// show runs a statement or batch and prints the answer.
func (s *session) show(ctx context.Context, sql string) error {
	s.last = sql
	stop := s.signOfLife()
	response, err := s.ask(ctx, sql)
	stop()
	if err != nil {
		return s.failed(err)
	}
	if s.options.verbose {
		s.say("answered by %s", response.Node)
	}
	if s.words != nil && changesCatalog(sql) {
		s.words.forget()
	}
	var page bytes.Buffer
	if err := s.look.render(&page, response); err != nil {
		return err
	}
	return s.page(ctx, page.Bytes())
}

// ask sends a statement, as often as it has to be, for --timeout in all.
func (s *session) ask(ctx context.Context, sql string) (*client.Response, error) {
	request := client.Request{SQL: sql, Namespace: s.namespace}
	if s.options.timeout == 0 {
		return s.access.client.Do(ctx, request)
	}
	bounded, cancel := context.WithTimeout(ctx, seconds(s.options.timeout))
	defer cancel()
	response, err := s.access.client.Do(bounded, request)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return nil, fmt.Errorf("no answer within %g s (--timeout): %w", s.options.timeout, err)
	}
	return response, err
}

// failed prints an error where it happened. In format json it is an answer like any other.
func (s *session) failed(err error) error {
	var refused *client.Error
	if s.look.format == "json" && errors.As(err, &refused) {
		_, _ = fmt.Fprintf(s.process.out, `{"status":"error","results":[],"error":{"code":%q,"message":%s}}`+"\n", refused.Code, encode(refused.Message))
		return errors.Join(errShown, err)
	}
	s.say("%s", s.paint("31", describe(err)))
	return errors.Join(errShown, err)
}

// say writes a line for the person.
func (s *session) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.process.err, format+"\n", args...) // nobody else can be told
}

// paint colours a text.
func (s *session) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// maxScriptBytes bounds a file of statements.
const maxScriptBytes = 64 << 20

// include runs a file.
func (s *session) include(ctx context.Context, path string) error {
	const deepest = 16
	if s.depth == deepest {
		return usagef("%s: files include each other more than %d deep", path, deepest)
	}
	file, err := os.Open(path) //nolint:gosec // the user names his own file
	if err != nil {
		return &usageError{err}
	}
	s.depth++
	err = s.script(ctx, file, path)
	s.depth--
	return errors.Join(err, file.Close())
}

// script runs statements one after the other, up to the first that fails. What stands between BEGIN and COMMIT goes
// to the server at once.
func (s *session) script(ctx context.Context, from io.Reader, name string) error {
	data, err := io.ReadAll(io.LimitReader(from, maxScriptBytes+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxScriptBytes {
		return usagef("%s is larger than %d MiB; cut it into several files", name, maxScriptBytes>>20)
	}
	text := strings.TrimPrefix(string(data), "\ufeff")
	whole := text
	for !blank(text) {
		line := 1 + strings.Count(whole[:len(whole)-len(strings.TrimLeft(text, " \t\r\n"))], "\n")
		var ready string
		ok := true
		if trimmed := strings.TrimSpace(text); trimmed[0] == '\\' {
			ready, text, _ = strings.Cut(trimmed, "\n")
		} else {
			var statement string
			statement, text, _ = split(text)
			if blank(statement) {
				continue
			}
			ready, ok = s.open.add(statement)
		}
		if !ok {
			continue
		}
		if err := s.take(ctx, ready); err != nil {
			if errors.Is(err, errQuit) {
				return nil
			}
			s.say("%s:%d: the statement failed, the rest was not run", name, line)
			return err
		}
	}
	if s.open.opened() {
		s.open = block{}
		return usagef("%s: a transaction was begun and neither committed nor rolled back; nothing of it ran", name)
	}
	return nil
}

// take runs a statement or a command with a backslash.
func (s *session) take(ctx context.Context, statement string) error {
	if strings.HasPrefix(statement, `\`) {
		return s.meta(ctx, statement)
	}
	if firstWord(statement) == "USE" {
		if fields := strings.Fields(statement); len(fields) > 1 {
			if err := s.show(ctx, statement); err != nil {
				return err
			}
			s.namespace = strings.Trim(fields[len(fields)-1], `"`)
			return nil
		}
	}
	return s.show(ctx, statement)
}

// changesCatalog reports whether names may be different afterwards.
func changesCatalog(sql string) bool {
	switch firstWord(sql) {
	case "CREATE", "DROP", "ALTER":
		return true
	}
	return false
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(command.OutOrStdout(), "kalam "+version())
			return err
		},
	}
}
