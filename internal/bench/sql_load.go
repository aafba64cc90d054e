package bench

import (
	"context"
	"errors"
	"time"
)

// sqlLoad is the clients of a case, each of which has a connection and keeps one request under way.
type sqlLoad interface {
	// add takes the connection of a further client over, also when it fails.
	add(connection *sqlConnection) error
	// run asks until the time is over, and returns what each client measured. The numbers of a client's requests begin at first.
	run(ctx context.Context, duration time.Duration, first int, asks sqlAsks) ([]latencies, error)
	// close ends all connections.
	close() error
}

// sqlAsks is what clients ask.
type sqlAsks struct {
	request func(client, n int) string
	dial    func(api string) (*sqlConnection, error) // connects to the server that an answer names
}

// sqlGoroutines are clients with a goroutine each. A single one has its answers soonest so.
type sqlGoroutines struct{ connections []*sqlConnection }

func (l *sqlGoroutines) add(connection *sqlConnection) error {
	l.connections = append(l.connections, connection)
	return nil
}

func (l *sqlGoroutines) run(ctx context.Context, duration time.Duration, first int, asks sqlAsks) ([]latencies, error) {
	return closedLoops(ctx, len(l.connections), duration, func(client, n int) error {
		connection := l.connections[client]
		leader, failed := connection.ask(asks.request(client, first+n))
		if failed != nil || leader == "" {
			return failed
		}
		next, failed := asks.dial(leader)
		if failed != nil {
			return failed
		}
		l.connections[client] = next
		return connection.Close()
	})
}

func (l *sqlGoroutines) close() error {
	var failed []error
	for _, connection := range l.connections {
		failed = append(failed, connection.Close())
	}
	return errors.Join(failed...)
}
