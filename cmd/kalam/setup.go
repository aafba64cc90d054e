package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kalamdb/kalamdb-go/client"
)

// setUp asks for the first accounts of a server that has none, and returns the administrator that it made; "" when the server is set up,
// or does not say.
func setUp(ctx context.Context, p process, o options, config client.Config) (user, password string, err error) {
	config.User, config.Password = first(config.User, "root"), "none" // nobody logs in with it
	c, err := client.New(config)
	if err != nil {
		return "", "", &usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, seconds(o.authTimeout))
	needed, err := c.NeedsSetup(ctx)
	cancel()
	if err != nil || !needed {
		return "", "", nil // the login tells what is wrong
	}
	if _, err = fmt.Fprintln(p.err, "The server is new: root has no password, and there is no administrator yet. Ctrl-C leaves it so."); err != nil {
		return "", "", err
	}
	var wanted client.Setup
	if wanted.RootPassword, err = askTwice(p, "root"); err != nil {
		return "", "", err
	}
	if wanted.User, err = askLine(p, "Name of the administrator: "); err != nil {
		return "", "", err
	}
	if wanted.Password, err = askTwice(p, wanted.User); err != nil {
		return "", "", err
	}
	setting, cancel := context.WithTimeout(context.WithoutCancel(ctx), seconds(o.authTimeout))
	defer cancel()
	if err = c.SetUp(setting, wanted); err != nil {
		return "", "", err
	}
	_, err = fmt.Fprintf(p.err, "The server is set up; you are %s.\n", wanted.User)
	return wanted.User, wanted.Password, err
}

// askTwice reads a new password.
func askTwice(p process, user string) (string, error) {
	password, err := ask(p, "New password for "+user+": ")
	if err != nil {
		return "", err
	}
	again, err := ask(p, "The same again: ")
	if err == nil && again != password {
		err = usagef("the two passwords are not the same; nothing was set up")
	}
	return password, err
}

// askLine reads a line that is shown. It takes no more than the line: what follows belongs to others.
func askLine(p process, question string) (string, error) {
	const longest = 1024
	if _, err := fmt.Fprint(p.err, question); err != nil {
		return "", err
	}
	var line strings.Builder
	letter := make([]byte, 1)
	for line.Len() < longest {
		if _, err := io.ReadFull(p.in, letter); err != nil {
			return "", usagef("read the name: %w", err)
		}
		if letter[0] == '\n' || letter[0] == '\r' {
			return strings.TrimSpace(line.String()), nil
		}
		line.WriteByte(letter[0])
	}
	return "", &usageError{errors.New("the name is too long")}
}
