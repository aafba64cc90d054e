package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/client"
)

// errQuit ends the prompt or the script.
var errQuit = errors.New("quit")

// metaCommand is a command with a backslash.
type metaCommand struct {
	names []string // without the backslash; the first is the one in the help
	args  string
	help  string
	least int // arguments that it needs
	run   func(s *session, ctx context.Context, rest string) error
}

// tablesSQL lists what people made. A query without LIMIT is given the server's default, which is short.
const tablesSQL = "SELECT table_schema AS namespace, table_name, table_type FROM information_schema.tables " +
	"WHERE table_schema NOT IN ('information_schema', 'pg_catalog', 'system') ORDER BY table_schema, table_name LIMIT 1000"

// metaCommands lists them in the order of the help.
func metaCommands() []metaCommand {
	query := func(sql string) func(*session, context.Context, string) error {
		return func(s *session, ctx context.Context, _ string) error { return s.show(ctx, sql) }
	}
	return []metaCommand{
		{[]string{"?", "help"}, "", "this list", 0, (*session).help},
		{[]string{"q", "quit", "exit"}, "", "end", 0, func(*session, context.Context, string) error { return errQuit }},
		{[]string{"info", "session"}, "", "the server, the user, the settings", 0, (*session).info},
		{[]string{"dt", "tables"}, "", "list tables", 0, query(tablesSQL)},
		{[]string{"d", "describe"}, "[table]", "columns of a table, or the tables", 0, (*session).describe},
		{[]string{"l", "namespaces"}, "", "list namespaces", 0, query("SHOW NAMESPACES")},
		{[]string{"use"}, "namespace", "namespace of names without one", 1, (*session).use},
		{[]string{"x"}, "", "a line for each column, or back to tables", 0, (*session).expand},
		{[]string{"timing"}, "[on|off]", "print user and time below results", 0, (*session).timing},
		{[]string{"format", "f"}, "table|json|csv|markdown", "how results look", 1, (*session).format},
		{[]string{"watch", "live", "subscribe"}, "seconds | SELECT …", "run the newest statement again and again, or follow a live query", 0, (*session).watch},
		{[]string{"subscriptions"}, "", "list live queries (administrators)", 0, query(
			"SELECT live_id, user_id, namespace_id, table_name, query FROM system.live ORDER BY live_id LIMIT 1000")},
		{[]string{"unsubscribe"}, "live_id", "end a live query (administrators)", 1, func(s *session, ctx context.Context, rest string) error {
			return s.show(ctx, "KILL LIVE QUERY "+quote(rest))
		}},
		{[]string{"as"}, "user statement", "run a statement in another user's name", 2, (*session).as},
		{[]string{"cluster"}, "[groups | words of CLUSTER …]", "the nodes, the groups, or a CLUSTER statement", 0, (*session).cluster},
		{[]string{"sessions"}, "", "who is connected", 0, query("SELECT * FROM system.sessions LIMIT 1000")},
		{[]string{"stats", "metrics"}, "", "counters of the server", 0, query("SELECT * FROM system.stats ORDER BY metric_name LIMIT 1000")},
		{[]string{"health"}, "", "is the server there", 0, (*session).health},
		{[]string{"flush"}, "", "move rows to cold storage", 0, query("STORAGE FLUSH ALL")},
		{[]string{"job"}, "id", "follow a job until it is over", 1, (*session).job},
		{[]string{"consume"}, "topic …", "read a topic", 1, func(s *session, ctx context.Context, rest string) error {
			return s.show(ctx, "CONSUME FROM "+rest)
		}},
		{[]string{"i"}, "file", "run the statements of a file", 1, func(s *session, ctx context.Context, rest string) error {
			return s.include(ctx, rest)
		}},
		{[]string{"show-credentials", "credentials"}, "", "what is kept for this instance, without the tokens", 0, manages(func(o *options) { o.showCredentials = true })},
		{[]string{"update-credentials"}, "", "keep the tokens of this login", 0, (*session).keep},
		{[]string{"delete-credentials"}, "", "forget what is kept for this instance", 0, manages(func(o *options) { o.deleteCredentials = true })},
		{[]string{"history", "h"}, "", "what was typed", 0, (*session).history},
		{[]string{"refresh"}, "", "read names for completion again", 0, func(s *session, _ context.Context, _ string) error {
			if s.words != nil {
				s.words.forget()
			}
			return nil
		}},
	}
}

// meta runs a command with a backslash.
func (s *session) meta(ctx context.Context, line string) error {
	name, rest, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), `\`), " ")
	rest = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), ";"))
	name = strings.TrimSuffix(name, ";")
	for _, command := range metaCommands() {
		if !slices.Contains(command.names, name) {
			continue
		}
		if len(strings.Fields(rest)) < command.least {
			return s.failed(usagef(`\%s needs %s`, name, command.args))
		}
		return command.run(s, ctx, rest)
	}
	return s.failed(usagef(`there is no command \%s; \? lists them`, name))
}

func (s *session) help(context.Context, string) error {
	var b strings.Builder
	b.WriteString("Statements end with a semicolon. Commands:\n")
	for _, command := range metaCommands() {
		fmt.Fprintf(&b, "  %-36s %s\n", `\`+strings.Join(command.names, ` \`)+" "+command.args, command.help)
	}
	_, err := s.process.out.Write([]byte(b.String()))
	return err
}

func (s *session) info(context.Context, string) error {
	_, err := fmt.Fprintf(s.process.out, "server:    %s\nuser:      %s\nnamespace: %s\nformat:    %s\nkalam:     %s\n",
		strings.Join(s.access.urls, ", "), first(s.access.user, "that of the token"), first(s.namespace, "default"), s.look.format, version())
	return err
}

func (s *session) describe(ctx context.Context, rest string) error {
	if rest == "" {
		return s.show(ctx, tablesSQL)
	}
	return s.show(ctx, "DESCRIBE TABLE "+rest)
}

func (s *session) use(_ context.Context, rest string) error {
	s.namespace = rest
	return nil
}

func (s *session) expand(context.Context, string) error {
	s.look.expanded = !s.look.expanded
	s.say("expanded is %s", onOff(s.look.expanded))
	return nil
}

func (s *session) timing(_ context.Context, rest string) error {
	switch rest {
	case "":
		s.look.timing = !s.look.timing
	case "on", "off":
		s.look.timing = rest == "on"
	default:
		return s.failed(usagef(`\timing %s: want on or off`, rest))
	}
	s.say("timing is %s", onOff(s.look.timing))
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func (s *session) format(_ context.Context, rest string) error {
	if !slices.Contains(formats, rest) {
		return s.failed(usagef(`\format %s: want %s`, rest, strings.Join(formats, ", ")))
	}
	s.look.format = rest
	return nil
}

// watch follows a live query, or repeats the newest statement every so many seconds until it is interrupted.
func (s *session) watch(ctx context.Context, rest string) error {
	if rest != "" {
		if _, err := strconv.ParseFloat(rest, 64); err != nil {
			return s.follow(ctx, rest)
		}
	}
	period, _ := strconv.ParseFloat(first(rest, "2"), 64) // it was read above
	switch {
	case !(period >= 0.1 && period <= 86_400): // NaN is no period either
		return s.failed(usagef(`\watch %s: want 0.1 to 86400 seconds`, rest))
	case s.last == "":
		return s.failed(usagef(`\watch repeats the newest statement; there is none yet`))
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	ticker := time.NewTicker(seconds(period))
	defer ticker.Stop()
	sql := s.last
	for {
		if _, err := fmt.Fprintf(s.process.out, "%s (every %g s)\n", time.Now().Format(time.DateTime), period); err != nil {
			return err
		}
		if err := s.show(ctx, sql); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (s *session) as(ctx context.Context, rest string) error {
	user, statement, _ := strings.Cut(rest, " ")
	return s.show(ctx, "EXECUTE AS USER "+quote(strings.Trim(user, "'"))+" ("+strings.TrimSpace(statement)+")")
}

func (s *session) cluster(ctx context.Context, rest string) error {
	switch strings.ToLower(rest) {
	case "", "status", "list", "ls", "nodes":
		return s.show(ctx, "SELECT node_id, role, status, rpc_addr, api_addr, is_self, is_leader, groups_leading, total_groups, "+
			"replication_lag FROM system.cluster ORDER BY node_id LIMIT 1000")
	case "groups":
		return s.show(ctx, "SELECT group_id, group_type, node_id, state, current_term, current_leader, last_applied, committed "+
			"FROM system.cluster_groups ORDER BY group_id, node_id LIMIT 1000")
	}
	return s.show(ctx, "CLUSTER "+rest)
}

func (s *session) health(ctx context.Context, _ string) error {
	begin := time.Now()
	response, err := s.access.client.Query(ctx, "SELECT 1")
	if err != nil {
		return s.failed(err)
	}
	_, err = fmt.Fprintf(s.process.out, "the server answers as %s, %.1f ms there and back\n", response.AsUser,
		float64(time.Since(begin).Microseconds())/1000)
	return err
}

// job shows a job's state and progress until it ends.
func (s *session) job(ctx context.Context, id string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		result, err := s.access.client.Query(ctx, "SELECT status, message FROM system.jobs WHERE job_id = $1", id)
		switch {
		case err != nil:
			return s.failed(err)
		case len(result.Rows) == 0:
			return s.failed(usagef("there is no job %s", id))
		}
		status, message := plain(result.Rows[0][0]), plain(result.Rows[0][1])
		if s.process.errTTY {
			_, _ = fmt.Fprintf(s.process.err, "\r\x1b[K%s: %s %s", id, status, message)
		}
		if slices.Contains([]string{"completed", "failed", "cancelled", "skipped"}, status) {
			if s.process.errTTY {
				_, _ = fmt.Fprint(s.process.err, "\r\x1b[K")
			}
			_, err := fmt.Fprintf(s.process.out, "%s: %s %s\n", id, status, message)
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// manages is a command about what is kept of logins.
func manages(set func(*options)) func(*session, context.Context, string) error {
	return func(s *session, _ context.Context, _ string) error {
		asked := options{instance: s.options.instance}
		set(&asked)
		if _, err := manage(s.process, asked, s.home); err != nil {
			return s.failed(err)
		}
		return nil
	}
}

// keep logs in anew and keeps the tokens.
func (s *session) keep(ctx context.Context, _ string) error {
	kept, err := s.home.credentials()
	if err != nil {
		return s.failed(err)
	}
	asked := s.options
	asked.updateCredentials = true
	if err := s.access.login(ctx, asked, s.home, kept, client.Config{Token: s.access.token}, ""); err != nil {
		return s.failed(err)
	}
	s.say("kept the tokens of %s for the instance %s", s.access.user, s.options.instance)
	return nil
}
