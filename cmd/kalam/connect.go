package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/kalamdb/kalamdb-go/client"
)

// defaultURL is asked when nobody names a server.
const defaultURL = "http://localhost:8080"

// terminal reports whether a file is one.
func terminal(file *os.File) bool { return term.IsTerminal(int(file.Fd())) }

// access is how a server is reached and who asks.
type access struct {
	client *client.Client
	urls   []string
	user   string
	token  string // "" when the client logs in with a password
}

// connect finds out where to go and who asks: flags before variables before kept credentials before config.toml.
// It logs in when it has a password, so that a wrong one is said before the first statement.
func connect(ctx context.Context, p process, o options, s settings, h home) (*access, error) {
	kept, err := h.credentials()
	if err != nil {
		return nil, err
	}
	mine := kept.Instances[o.instance]
	config := client.Config{URLs: addresses(o, s, mine, p.env), HTTP: o.http()}
	if !mine.belongsTo(config.URLs) {
		mine = credential{} // its tokens are nobody else's business
	}
	config.Token = first(o.token, p.env("KALAM_TOKEN"))
	config.User = first(o.user, p.env("KALAM_USER"))
	if !o.askPassword {
		config.Password = first(o.password, p.env("KALAM_PASSWORD"))
	}
	named := config.User != ""
	config.User = first(config.User, mine.User, s.Auth.User)
	renew := ""
	if config.Token == "" && config.Password == "" && !o.askPassword && (!named || config.User == mine.User) && mine.AccessToken != "" {
		switch now := time.Now(); {
		case now.Before(mine.ExpiresAt):
			config.Token, config.User = mine.AccessToken, ""
		case now.Before(mine.RefreshExpiresAt):
			renew, config.Token = mine.RefreshToken, mine.AccessToken
		}
	}
	if config.Token == "" && config.Password == "" && p.inTTY {
		user, password, failed := setUp(ctx, p, o, config)
		if failed != nil {
			return nil, failed
		}
		config.User, config.Password = first(user, config.User), password
	}
	if config.Token == "" && config.User == "" {
		return nil, usagef("nobody to log in as; give --user (and --password or KALAM_PASSWORD), --token, or --save-credentials once")
	}
	if config.Token == "" && config.Password == "" {
		if config.Password, err = ask(p, "Password for "+config.User+": "); err != nil {
			return nil, err
		}
	}
	a := &access{urls: config.URLs, user: first(config.User, mine.User), token: config.Token}
	if a.client, err = client.New(config); err != nil {
		return nil, &usageError{err}
	}
	return a, a.login(ctx, o, h, kept, config, renew)
}

// login asks for tokens when there is a password or an old token, and keeps them when that is wanted.
func (a *access) login(ctx context.Context, o options, h home, kept credentials, config client.Config, renew string) error {
	ctx, cancel := context.WithTimeout(ctx, seconds(o.authTimeout))
	defer cancel()
	var grant *client.Grant
	var err error
	switch {
	case renew != "":
		grant, err = a.client.Refresh(ctx, renew)
	case config.Token == "":
		grant, err = a.client.Login(ctx)
	case o.saveCredentials || o.updateCredentials:
		return usagef("tokens are kept after a login with --user and a password")
	default:
		return nil
	}
	if err != nil {
		return err
	}
	a.user = grant.User.ID
	if renew == "" && !o.saveCredentials && !o.updateCredentials {
		return nil
	}
	kept.Instances[o.instance] = credential{
		URL: strings.Join(a.urls, ","), User: a.user, AccessToken: grant.AccessToken, ExpiresAt: grant.ExpiresAt,
		RefreshToken: grant.RefreshToken, RefreshExpiresAt: grant.RefreshExpiresAt,
	}
	return h.save(kept)
}

// belongsTo reports whether tokens were given by these servers.
func (c credential) belongsTo(urls []string) bool {
	theirs := strings.Split(c.URL, ",")
	return !slices.ContainsFunc(urls, func(url string) bool {
		return !slices.ContainsFunc(theirs, func(known string) bool { return strings.TrimRight(known, "/") == strings.TrimRight(url, "/") })
	})
}

// addresses lists the servers.
func addresses(o options, s settings, mine credential, env func(string) string) []string {
	if o.host != "" {
		return []string{"http://" + net.JoinHostPort(o.host, strconv.Itoa(o.port))}
	}
	text := first(o.url, env("KALAM_URL"), mine.URL, s.Server.URL, defaultURL)
	list := strings.Split(text, ",")
	for i, url := range list {
		url = strings.TrimSpace(url)
		if !strings.Contains(url, "://") {
			url = "http://" + url
		}
		list[i] = url
	}
	return list
}

// http makes a client with the timeouts that were asked for.
func (o *options) http() *http.Client {
	dialer := &net.Dialer{Timeout: seconds(o.connectionTimeout)}
	return &http.Client{
		Timeout: seconds(o.timeout),
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext,
			ResponseHeaderTimeout: seconds(o.receiveTimeout), MaxIdleConnsPerHost: 4,
			TLSHandshakeTimeout: seconds(o.connectionTimeout),
		},
	}
}

// ask reads a password that is not shown.
func ask(p process, question string) (string, error) {
	file, ok := p.in.(*os.File)
	if !ok || !p.inTTY {
		return "", usagef("no password; give --password or KALAM_PASSWORD")
	}
	if _, err := fmt.Fprint(p.err, question); err != nil {
		return "", err
	}
	password, err := term.ReadPassword(int(file.Fd()))
	_, _ = fmt.Fprintln(p.err) // the line of the question
	if err != nil {
		return "", usagef("read the password: %w", err)
	}
	return string(password), nil
}

// first returns the first text that is not empty.
func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// manage does what is asked about credentials, and reports whether something was.
func manage(p process, o options, h home) (done bool, err error) {
	kept, err := h.credentials()
	if err != nil {
		return false, err
	}
	mine, found := kept.Instances[o.instance]
	switch {
	case o.listInstances:
		for _, name := range sortedKeys(kept.Instances) {
			c := kept.Instances[name]
			_, err = fmt.Fprintf(p.out, "%s\t%s\t%s\n", name, c.User, c.URL)
		}
		return true, err
	case o.showCredentials && !found, o.deleteCredentials && !found:
		return true, usagef("nothing is kept for the instance %q", o.instance)
	case o.showCredentials:
		_, err = fmt.Fprintf(p.out, "instance: %s\nserver:   %s\nuser:     %s\ntoken:    until %s\nrefresh:  until %s\n", o.instance,
			mine.URL, mine.User, mine.ExpiresAt.Format(time.RFC3339), mine.RefreshExpiresAt.Format(time.RFC3339))
		return true, err
	case o.deleteCredentials:
		delete(kept.Instances, o.instance)
		return true, h.save(kept)
	}
	return false, nil
}

// given reports whether a flag was set by hand.
func given(f *pflag.FlagSet, name string) bool { return f.Changed(name) }
