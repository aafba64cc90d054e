package server

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/api/wsapi"
	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// liveParts are the parts of a node that serve live queries: the feed that state machines publish to, the
// service that follows it, and the sockets of clients.
type liveParts struct {
	feed    *changefeed.Feed
	service *live.Service
	sockets *wsapi.Server

	patience time.Duration // with clients that take nothing; zero is the standard
}

// newLiveParts makes the feed, which must be there before the first state machine.
func newLiveParts(cfg *config.Config, patience time.Duration) *liveParts {
	return &liveParts{feed: changefeed.New(feedConfig(cfg)), patience: patience}
}

// feedConfig is how much the feed keeps of each group that is followed.
func feedConfig(cfg *config.Config) changefeed.Config {
	return changefeed.Config{MaxChanges: cfg.Limits.ChangeBufferEntries, MaxBytes: uint64(cfg.Limits.ChangeBufferBytes)}
}

// open builds what serves clients. It comes after the store, the catalog and authentication.
func (l *liveParts) open(n *Node) (err error) {
	rates := n.cfg.RateLimit
	l.service, err = live.New(live.Config{
		Catalog: n.catalog, Store: n.store, Barrier: n.exec, Feed: l.feed, Clock: n.clock, Engine: n.sql,
		Cold:   n.cold,
		Logger: n.logger.With(slog.String("part", "live")), MaxPerUser: rates.MaxSubscriptionsPerUser,
	})
	if err != nil {
		return err
	}
	l.sockets, err = wsapi.New(wsapi.Config{
		Live: l.service, Auth: admittedAuth{n, n.users}, Logger: n.logger.With(slog.String("part", "sockets")),
		Origins: n.cfg.Security.CORS.AllowedOrigins, StrictOrigin: n.cfg.Security.StrictWSOrigin,
		MaxMessagesPerSec: rates.MaxMessagesPerSec, MaxMessageBytes: n.cfg.Security.MaxWSMessageBytes,
		WriteTimeout: l.patience,
	})
	return err
}

// refuse lets no new client in; the open connections go on until close.
func (l *liveParts) refuse() {
	if l.sockets != nil {
		l.sockets.Refuse()
	}
}

// close tells clients to go elsewhere and stops following changes. It comes before the store is closed.
func (l *liveParts) close(ctx context.Context) {
	if l.sockets != nil {
		l.sockets.Shutdown(ctx)
	}
	if l.service != nil {
		l.service.Close()
	}
}

// sessions lists the live connections of this node, for system.sessions.
func (n *Node) sessions() []table.OpenSession {
	if n.live.sockets == nil {
		return nil
	}
	var list []table.OpenSession
	for _, connection := range n.live.sockets.Sessions() {
		state := "idle"
		if connection.Subscriptions > 0 {
			state = "active"
		}
		list = append(list, table.OpenSession{
			ID: liveQueries{n}.node() + "-" + strconv.FormatUint(connection.Number, 10), Schema: "default", State: state, User: connection.User,
			Client: connection.ClientIP, Transport: "websocket", OpenedMicros: connection.Opened.UnixMicro(),
			SeenMicros: connection.Seen.UnixMicro(), Method: connection.LastMethod,
		})
	}
	return list
}
