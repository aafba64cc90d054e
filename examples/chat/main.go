// Command chat is a chat room in the terminal: what anyone writes appears for everyone.
//
//	chat -url http://127.0.0.1:8080 -user root -password … -name ada
//
// Messages are rows of the shared table chat.messages. The program follows them with a live query and inserts a
// row for each line that is typed. Several -url, separated by commas, name the nodes of a cluster; the room
// goes on when one of them fails. The user needs a role that may create shared tables and write to them.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"

	"github.com/kalamdb/kalamdb-go/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("chat", flag.ContinueOnError)
	urls := flags.String("url", "http://127.0.0.1:8080", "addresses of the nodes, separated by commas")
	user := flags.String("user", "root", "who connects")
	password := flags.String("password", "", "the user's password")
	name := flags.String("name", "somebody", "who speaks")
	if err := flags.Parse(args); err != nil {
		return err
	}
	db, err := client.New(client.Config{URLs: strings.Split(*urls, ","), User: *user, Password: *password})
	if err != nil {
		return err
	}
	for _, statement := range []string{
		"CREATE NAMESPACE IF NOT EXISTS chat",
		"CREATE TABLE IF NOT EXISTS chat.messages (id TEXT PRIMARY KEY DEFAULT ULID(), author TEXT NOT NULL, body TEXT NOT NULL)" +
			" WITH (TYPE='SHARED')",
	} {
		if _, err = db.Exec(ctx, statement); err != nil {
			return err
		}
	}
	ctx, leave := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() {
		if gone := follow(ctx, db, out); gone != nil && ctx.Err() == nil {
			_, _ = fmt.Fprintln(out, "the room is gone:", gone)
		}
	})
	err = speak(ctx, db, *name, in)
	leave()
	following.Wait()
	return err
}

// follow prints the newest messages and then each one as it comes.
func follow(ctx context.Context, db *client.Client, out io.Writer) error {
	room := db.Subscribe(client.Live{SQL: "SELECT * FROM chat.messages", LastRows: 20})
	defer room.Close()
	for {
		event, err := room.Next(ctx)
		if err != nil {
			return err
		}
		if event.Kind != client.Rows && event.Kind != client.Insert {
			continue
		}
		for _, row := range event.Rows {
			if _, err := fmt.Fprintf(out, "%s: %s\n", row["author"], row["body"]); err != nil {
				return err
			}
		}
	}
}

// speak sends each line.
func speak(ctx context.Context, db *client.Client, name string, in io.Reader) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		if _, err := db.Exec(ctx, "INSERT INTO chat.messages (author, body) VALUES ($1, $2)", name, lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}
