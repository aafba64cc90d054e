package wsapi

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// Connection is what an administrator sees of a connection.
type Connection struct {
	Number        uint64 // among the connections of this node
	User          ident.UserID
	ClientIP      string
	Opened, Seen  time.Time // Seen: when its last message came
	LastMethod    string    // type of its last message
	Subscriptions int
}

// watched is what is remembered of a connection for administrators. Conn.mu guards it.
type watched struct {
	user   ident.UserID
	opened time.Time
	seen   time.Time
	method string
}

// maxMethodBytes bounds what is remembered of a message's type, which may be anything.
const maxMethodBytes = 32

// Sessions lists the connections whose callers are known, the oldest first.
func (s *Server) Sessions() []Connection {
	s.mu.Lock()
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	slices.SortFunc(conns, func(a, b *Conn) int { return cmp.Compare(a.number, b.number) })
	list := make([]Connection, 0, len(conns))
	for _, c := range conns {
		c.mu.Lock()
		if c.watched.user != "" && c.subs != nil {
			list = append(list, Connection{
				Number: c.number, User: c.watched.user, ClientIP: c.clientIP, Opened: c.watched.opened,
				Seen: c.watched.seen, LastMethod: c.watched.method, Subscriptions: len(c.subs),
			})
		}
		c.mu.Unlock()
	}
	return list
}

// sawCaller remembers who the caller is.
func (c *Conn) sawCaller(user ident.UserID) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watched = watched{user: user, opened: now, seen: now, method: "authenticate"}
}

// saw remembers a message.
func (c *Conn) saw(method string) {
	method = strings.ToValidUTF8(method[:min(len(method), maxMethodBytes)], "")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watched.seen, c.watched.method = time.Now(), method
}
