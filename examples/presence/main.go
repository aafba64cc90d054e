// Command presence shows who is there, in rooms that people come to and leave.
//
//	presence -url http://127.0.0.1:8080 -user root -password … -name ada -room lobby
//
// Whoever is there has a row in the STREAM table presence.here that is written anew before its time is over; whoever
// leaves, or loses power, has none a few seconds later, on every node. The program follows the rows with one live query
// and how many there are in each room with another, and prints both. A STREAM table is private: it shows the
// programs of one user, so give all of them the same -user.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "presence:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("presence", flag.ContinueOnError)
	urls := flags.String("url", "http://127.0.0.1:8080", "addresses of the nodes, separated by commas")
	user := flags.String("user", "root", "who connects")
	password := flags.String("password", "", "the user's password")
	name := flags.String("name", "somebody", "who is there")
	room := flags.String("room", "lobby", "where")
	seconds := flags.Int("seconds", 6, "how long a sign of life is good; the table keeps what it was made with")
	if err := flags.Parse(args); err != nil {
		return err
	}
	db, err := client.New(client.Config{URLs: strings.Split(*urls, ","), User: *user, Password: *password})
	if err != nil {
		return err
	}
	for _, statement := range []string{
		"CREATE NAMESPACE IF NOT EXISTS presence",
		fmt.Sprintf("CREATE STREAM TABLE IF NOT EXISTS presence.here (name TEXT PRIMARY KEY, room TEXT NOT NULL) WITH (TTL_SECONDS = %d)", *seconds),
	} {
		if _, err = db.Exec(ctx, statement); err != nil {
			return err
		}
	}
	ctx, leave := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() {
		if failed := follow(ctx, db, out); failed != nil && ctx.Err() == nil {
			_, _ = fmt.Fprintln(out, "nobody can be seen any more:", failed)
		}
	})
	err = stay(ctx, db, *name, *room, time.Duration(*seconds)*time.Second/3)
	leave()
	following.Wait()
	return err
}

// stay gives signs of life, well before the last one ends.
func stay(ctx context.Context, db *client.Client, name, room string, period time.Duration) error {
	ticker := time.NewTicker(period) //nolint:forbidigo // a program of its own has no other clock
	defer ticker.Stop()
	for {
		_, err := db.Exec(ctx, "INSERT INTO presence.here VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET room = EXCLUDED.room", name, room)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// follow prints who comes and goes, and how many are in each room.
func follow(ctx context.Context, db *client.Client, out io.Writer) error {
	both := db.SubscribeAll(
		client.Live{SQL: "SELECT name, room FROM presence.here"},
		client.Live{SQL: "SELECT room, COUNT(*) AS people FROM presence.here GROUP BY room"},
	)
	defer both.Close()
	for {
		event, err := both.Next(ctx)
		if err != nil {
			return err
		}
		for _, row := range event.Rows {
			switch {
			case event.Query == 1:
				_, err = fmt.Fprintf(out, "%v: %v\n", row["room"], row["people"])
			case event.Kind == client.Insert || event.Kind == client.Rows:
				_, err = fmt.Fprintf(out, "%v is in %v\n", row["name"], row["room"])
			}
			if err != nil {
				return err
			}
		}
		if event.Kind != client.Delete {
			continue
		}
		for _, row := range event.OldValues {
			if event.Query == 0 {
				if _, err = fmt.Fprintf(out, "%v has left %v\n", row["name"], row["room"]); err != nil {
					return err
				}
			}
		}
	}
}
