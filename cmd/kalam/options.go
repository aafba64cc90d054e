package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// options is the command line.
type options struct {
	url, host      string
	port           int
	token          string
	user, password string
	askPassword    bool
	instance       string
	command, file  string
	format         string
	json, csv      bool
	noColor        bool
	noSpinner      bool
	threshold      int // of the spinner, ms
	config         string
	verbose        bool
	namespace      string

	timeout, connectionTimeout, receiveTimeout, authTimeout float64 // s
	initialDataTimeout, subscriptionTimeout                 float64 // s; zero is none
	fast, relaxed                                           bool

	subscribe, unsubscribe string
	listSubscriptions      bool
	consume                bool
	topic, group, from     string
	consumeLimit           int
	consumeTimeout         float64 // s

	showCredentials, updateCredentials, deleteCredentials, saveCredentials, listInstances bool
}

// askPasswordFlag stands for --password without a value, which the parser of flags cannot tell from one with the next word.
const askPasswordFlag = "ask-password"

// askedFor replaces --password that nothing follows, or another flag.
func askedFor(args []string) []string {
	list := slices.Clone(args)
	for i, arg := range list {
		if arg == "--" {
			break
		}
		if arg == "--password" && (i+1 == len(list) || strings.HasPrefix(list[i+1], "-")) {
			list[i] = "--" + askPasswordFlag
		}
	}
	return list
}

// formats are the ways to print a result.
var formats = []string{"table", "json", "csv", "markdown"}

func newRootCommand(p process) *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:   "kalam",
		Short: "the command line of KalamDB",
		Long: "kalam runs SQL on a KalamDB server. Without -c, -f or text on standard input it gives a prompt;\n" +
			"\\? there lists its commands.",
		Example: "  kalam --user root -c 'SELECT 1'\n" +
			"  kalam -u http://127.0.0.1:8080 --user root -f schema.sql\n" +
			"  kalam --user ann --subscribe 'SELECT * FROM app.notes'\n" +
			"  echo 'SELECT 1' | kalam --user root --csv",
		Args: func(command *cobra.Command, args []string) error {
			if err := cobra.NoArgs(command, args); err != nil {
				return usagef("%w; statements go behind -c, files behind -f", err)
			}
			return nil
		},
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := o.check(command.Flags()); err != nil {
				return err
			}
			return start(command.Context(), p, o, command.Flags())
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%w; see kalam --help", err) })
	o.flags(root.Flags())
	_ = root.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	root.AddCommand(newVersionCommand())
	return root
}

func (o *options) flags(f *pflag.FlagSet) {
	f.StringVarP(&o.url, "url", "u", "", "server, such as http://127.0.0.1:8080; several with commas between them")
	f.StringVarP(&o.host, "host", "H", "", "host of the server, with --port instead of --url")
	f.IntVarP(&o.port, "port", "p", 3000, "port of the server, used with --host alone")
	f.StringVar(&o.token, "token", "", "access token instead of a user and password")
	f.StringVar(&o.user, "user", "", "user to log in as")
	f.StringVar(&o.password, "password", "", "password; KALAM_PASSWORD keeps it out of the list of processes; without a value it is asked for")
	f.BoolVar(&o.askPassword, askPasswordFlag, false, "ask for the password")
	_ = f.MarkHidden(askPasswordFlag) // the flag exists
	f.StringVar(&o.instance, "instance", "local", "name under which credentials are kept")
	f.StringVarP(&o.command, "command", "c", "", "run this, one statement or several with semicolons, and end")
	f.StringVarP(&o.file, "file", "f", "", "run the statements of a file and end; - is standard input")
	f.StringVar(&o.format, "format", "", "how results look: "+strings.Join(formats, ", "))
	f.BoolVar(&o.json, "json", false, "the same as --format json")
	f.BoolVar(&o.csv, "csv", false, "the same as --format csv")
	f.BoolVar(&o.noColor, "no-color", false, "no colours; so does the variable NO_COLOR")
	f.BoolVar(&o.noSpinner, "no-spinner", false, "no sign of life while a statement runs")
	f.IntVar(&o.threshold, "loading-threshold-ms", 200, "a statement that takes longer gets a sign of life")
	f.StringVar(&o.config, "config", "", "configuration file (default ~/.kalam/config.toml)")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "say which server answered")
	f.StringVarP(&o.namespace, "namespace", "n", "", "namespace of names without one")
	f.Float64Var(&o.timeout, "timeout", 60, "seconds for a request")
	f.Float64Var(&o.connectionTimeout, "connection-timeout", 10, "seconds for a connection to come about")
	f.Float64Var(&o.receiveTimeout, "receive-timeout", 0, "seconds until an answer begins; 0 is --timeout")
	f.Float64Var(&o.authTimeout, "auth-timeout", 15, "seconds for the login")
	f.Float64Var(&o.initialDataTimeout, "initial-data-timeout", 60, "seconds for the first rows of a live query; 0 is no end")
	f.Float64Var(&o.subscriptionTimeout, "subscription-timeout", 0, "seconds until a live query ends; 0 is no end")
	f.BoolVar(&o.fast, "fast-timeouts", false, "short timeouts, for a server on this machine")
	f.BoolVar(&o.relaxed, "relaxed-timeouts", false, "long timeouts, for a slow network")
	f.StringVar(&o.subscribe, "subscribe", "", "follow a live query: SELECT columns FROM namespace.table [WHERE …]")
	f.StringVar(&o.unsubscribe, "unsubscribe", "", "end a live query of anybody by its live_id (administrators)")
	f.BoolVar(&o.listSubscriptions, "list-subscriptions", false, "list the live queries (administrators)")
	f.BoolVar(&o.consume, "consume", false, "read a topic; with --topic, --group, --from, --consume-limit")
	f.StringVar(&o.topic, "topic", "", "topic to read")
	f.StringVar(&o.group, "group", "", "consumer group")
	f.StringVar(&o.from, "from", "", "where to begin: earliest, latest or an offset")
	f.IntVar(&o.consumeLimit, "consume-limit", 100, "messages to read")
	f.Float64Var(&o.consumeTimeout, "consume-timeout", 0, "seconds for reading a topic; 0 is --timeout")
	f.BoolVar(&o.showCredentials, "show-credentials", false, "show what is kept for --instance, without the tokens")
	f.BoolVar(&o.updateCredentials, "update-credentials", false, "log in and keep the tokens for --instance")
	f.BoolVar(&o.deleteCredentials, "delete-credentials", false, "forget what is kept for --instance")
	f.BoolVar(&o.saveCredentials, "save-credentials", false, "keep the tokens of this login for --instance")
	f.BoolVar(&o.listInstances, "list-instances", false, "list the instances that credentials are kept for")
}

// check finds what contradicts itself.
func (o *options) check(f *pflag.FlagSet) error {
	exclusive := [][]string{
		{"url", "host"},
		{"password", askPasswordFlag},
		{"json", "csv", "format"},
		{"fast-timeouts", "relaxed-timeouts"},
		{
			"command", "file", "subscribe", "unsubscribe", "list-subscriptions", "consume",
			"show-credentials", "update-credentials", "delete-credentials", "list-instances",
		},
	}
	for _, names := range exclusive {
		var given []string
		for _, name := range names {
			if f.Changed(name) {
				given = append(given, "--"+name)
			}
		}
		if len(given) > 1 {
			return usagef("%s exclude each other; give one", strings.Join(given, " and "))
		}
	}
	switch {
	case f.Changed("port") && !f.Changed("host"):
		return usagef("--port needs --host; with --url the port is part of the URL")
	case o.port < 1 || o.port > 65535:
		return usagef("--port %d: want 1 to 65535", o.port)
	case o.consume && o.topic == "":
		return usagef("--consume needs --topic")
	case o.threshold < 0:
		return usagef("--loading-threshold-ms %d: want 0 or more", o.threshold)
	case f.Changed("command") && blank(o.command):
		return usagef("--command holds no statement")
	}
	for name, value := range map[string]float64{
		"timeout": o.timeout, "connection-timeout": o.connectionTimeout, "receive-timeout": o.receiveTimeout,
		"auth-timeout": o.authTimeout, "initial-data-timeout": o.initialDataTimeout,
		"subscription-timeout": o.subscriptionTimeout, "consume-timeout": o.consumeTimeout,
	} {
		if !(value >= 0 && value <= 86_400) { // NaN is no time either
			return usagef("--%s %g: want 0 to 86400 seconds", name, value)
		}
	}
	switch {
	case o.json:
		o.format = "json"
	case o.csv:
		o.format = "csv"
	}
	if o.format != "" && !slices.Contains(formats, o.format) {
		return usagef("--format %s: want %s", o.format, strings.Join(formats, ", "))
	}
	o.hurry(f)
	return nil
}

// hurry sets the timeouts that were not given by hand.
func (o *options) hurry(f *pflag.FlagSet) {
	var scale float64
	switch {
	case o.fast:
		scale = 0.2
	case o.relaxed:
		scale = 5
	default:
		return
	}
	for name, value := range map[string]*float64{
		"timeout": &o.timeout, "connection-timeout": &o.connectionTimeout, "auth-timeout": &o.authTimeout,
		"initial-data-timeout": &o.initialDataTimeout,
	} {
		if !f.Changed(name) {
			*value *= scale
		}
	}
}

// seconds turns an option into a duration.
func seconds(value float64) time.Duration { return time.Duration(value * float64(time.Second)) }

// consumeSQL is the statement behind --consume.
func (o *options) consumeSQL() string {
	sql := "CONSUME FROM " + o.topic
	if o.group != "" {
		sql += " GROUP " + quote(o.group)
	}
	if o.from != "" {
		sql += " FROM " + strings.ToUpper(o.from)
	}
	return fmt.Sprintf("%s LIMIT %d", sql, o.consumeLimit)
}

// quote makes an SQL string.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
