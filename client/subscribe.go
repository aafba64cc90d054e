package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Live is a live query.
type Live struct {
	// SQL is SELECT columns FROM namespace.table WHERE condition. With aggregates, GROUP BY or ORDER BY and LIMIT the
	// events are about the rows of the result; a Result keeps it.
	SQL       string
	BatchSize int     // rows of an initial batch; zero is the server's choice
	LastRows  int     // only the newest rows at the beginning; zero is all
	From      *uint64 // only changes after this _seq
}

// EventKind says what an Event is.
type EventKind string

// The kinds of events.
const (
	Rows   EventKind = "rows"   // rows that are there, or that came while the subscription was away
	Ready  EventKind = "ready"  // the initial rows are complete; what follows are changes
	Insert EventKind = "insert" // Rows are new
	Update EventKind = "update" // Rows have what is not NULL now, OldValues what changed
	Delete EventKind = "delete" // OldValues are gone
	// Reset says to forget all rows; they come again from the beginning. Changes were lost on the way, or a result that
	// is kept as a whole is given as a whole.
	Reset EventKind = "reset"
	// Cut says that what was given for all queries of SubscribeAll up to here is one consistent state: the queries of one
	// group of the cluster stand at the same position of it, and groups where one node had them at one instant, with
	// everything that was acknowledged before the subscription connected.
	Cut EventKind = "cut"
)

// Row is a row by column name. Numbers are json.Number; 64-bit integers and _seq are strings.
type Row map[string]any

// Event is one thing that happened to the rows of a live query.
type Event struct {
	Kind      EventKind
	Query     int // position in SubscribeAll
	Rows      []Row
	OldValues []Row
	Cursor    uint64 // the largest _seq given so far for the query; pass it as Live.From to go on later
	// More says that other events belong to the same change of a result: it is not complete before the last of them.
	More bool
}

// Subscription follows a live query over lost connections. Call Next in a loop, and Close in the end. While Next is
// not called nothing is buffered here; the server disconnects a client that stays away, and Next goes on where
// it was.
type Subscription struct {
	client  *Client
	queries []followed
	conn    *websocket.Conn
	node    string
	stop    context.CancelFunc // of the pings
	pings   sync.WaitGroup
	write   sync.Mutex // held while something is written to conn
	failed  int        // connections that failed in a row
	pending []Event
	refused int // the query that the newest error was about; -1 for none
}

// followed is one query of a subscription.
type followed struct {
	Live
	cursor uint64
	begun  bool // initial rows were given
}

// id names a query on a connection.
func id(query int) string { return "live-" + strconv.Itoa(query) }

// cutID names the queries of a connection that begin together.
const cutID = "all"

// pingPeriod is the time between two signs of life.
const pingPeriod = 8 * time.Second

// silence is for how long nothing at all may come from a server that is asked for an answer every pingPeriod: longer than it may take to begin
// a live query. One that is gone without a word, as when its machine lost its power, is left then.
const silence = 5 * pingPeriod

// helloTimeout bounds the time in which a server answers a new connection.
const helloTimeout = 10 * time.Second

// Subscribe makes a subscription; it connects with the first Next.
func (c *Client) Subscribe(query Live) *Subscription { return c.SubscribeAll(query) }

// SubscribeAll makes one subscription of several queries, at most 32. Whenever it connects, what it gives up to the
// event Cut is one consistent state of all of them, and no query gets changes before that.
func (c *Client) SubscribeAll(queries ...Live) *Subscription {
	s := &Subscription{client: c}
	for _, query := range queries {
		next := followed{Live: query}
		if query.From != nil {
			next.cursor = *query.From
		}
		s.queries = append(s.queries, next)
	}
	return s
}

// Cursor is the largest _seq that was given for the first query.
func (s *Subscription) Cursor() uint64 { return s.queries[0].cursor }

// Next returns the next event, connecting as often as it takes. The error is the context's, an *Error when the
// server refuses the live query, or wraps ErrUnauthorized.
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		if len(s.pending) > 0 {
			event := s.pending[0]
			s.pending = s.pending[1:]
			return event, nil
		}
		err := s.advance(ctx)
		var refused *Error
		switch {
		case err == nil:
			s.failed = 0
			continue
		case ctx.Err() != nil:
			return Event{}, ctx.Err()
		case errors.As(err, &refused) && refused.Code == "CURSOR_TOO_OLD":
			s.disconnect()
			query := max(s.refused, 0)
			s.queries[query].cursor, s.queries[query].From = 0, nil
			return Event{Kind: Reset, Query: query}, nil
		case errors.As(err, &refused) && !s.temporary(refused), errors.Is(err, ErrUnauthorized):
			s.disconnect()
			return Event{}, err
		}
		s.disconnect()
		s.client.leave(s.node)
		s.failed++
		if err := s.client.pause(ctx, s.failed, 0); err != nil {
			return Event{}, err
		}
	}
}

// temporary reports whether another attempt can help. A server may still count the connection that was lost.
func (s *Subscription) temporary(refused *Error) bool {
	if refused.Final {
		return false
	}
	switch refused.Code {
	case "SLOW_CONSUMER", "SUBSCRIPTION_FAILED", "BATCH_FETCH_FAILED", "RATE_LIMIT_EXCEEDED":
		return true
	case "SUBSCRIPTION_LIMIT_EXCEEDED":
		return slices.ContainsFunc(s.queries, func(f followed) bool { return f.begun })
	}
	return false
}

// Close ends the subscription.
func (s *Subscription) Close() { s.disconnect() }

func (s *Subscription) disconnect() {
	if s.conn == nil {
		return
	}
	s.stop()
	_ = s.conn.Close() // nothing is owed
	s.pings.Wait()
	s.conn = nil
}

// advance connects if need be and reads one message.
func (s *Subscription) advance(ctx context.Context) error {
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	// A read that is broken off leaves the connection unusable; Next connects again.
	done := make(chan struct{})
	stopped := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = s.conn.SetReadDeadline(time.Unix(1, 0))
	})
	_, data, err := s.conn.ReadMessage()
	if !stopped() {
		<-done
		s.disconnect()
	}
	if err != nil {
		return err
	}
	return s.take(data)
}

// connect opens a connection and asks for the live query, behind the cursor if there is one.
func (s *Subscription) connect(ctx context.Context) error {
	base := s.client.url()
	s.node = base
	token, err := s.client.login(ctx, base)
	if err != nil {
		return err
	}
	address := "ws" + strings.TrimPrefix(base, "http") + "/v1/ws?compress=false"
	dialer := *websocket.DefaultDialer
	dialer.NetDialContext = s.client.dialHeard
	conn, answer, err := dialer.DialContext(ctx, address, http.Header{"Authorization": {"Bearer " + token}})
	if answer != nil && answer.Body != nil {
		_ = answer.Body.Close() // its content is not used
	}
	if err != nil {
		return fmt.Errorf("connect to %s: %w", base, err)
	}
	s.conn = conn
	pinging, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.pings.Go(func() { s.ping(pinging, conn) })
	if err = conn.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return err
	}
	_, data, err := conn.ReadMessage()
	if err != nil {
		return err
	}
	var hello struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	if err = json.Unmarshal(data, &hello); err != nil {
		return err
	}
	if hello.Type != "auth_success" {
		// The close code tells a server that cannot know now, one that is cut off, from one that knows.
		if _, _, err = conn.ReadMessage(); websocket.IsCloseError(err, websocket.CloseTryAgainLater) {
			return fmt.Errorf("%s: %s", base, hello.Message)
		}
		if s.client.forget(token) && s.failed == 0 {
			return fmt.Errorf("the token was refused: %s", hello.Message)
		}
		return fmt.Errorf("%w: %s", ErrUnauthorized, hello.Message)
	}
	if err = conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	wanted := make([]map[string]any, len(s.queries))
	for i := range s.queries {
		wanted[i] = map[string]any{"id": id(i), "sql": s.queries[i].SQL, "options": s.queries[i].options()}
	}
	if len(wanted) == 1 {
		return s.send(map[string]any{"type": "subscribe", "subscription": wanted[0]})
	}
	return s.send(map[string]any{"type": "subscribe_all", "id": cutID, "subscriptions": wanted})
}

func (f *followed) options() map[string]any {
	options := map[string]any{}
	if f.BatchSize > 0 {
		options["batch_size"] = f.BatchSize
	}
	switch {
	case f.cursor > 0:
		options["from"] = f.cursor
	case f.LastRows > 0:
		options["last_rows"] = f.LastRows
	}
	return options
}

func (s *Subscription) send(message any) error {
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(pingPeriod)); err != nil {
		return err
	}
	return s.conn.WriteJSON(message)
}

// ping tells the server that somebody is there.
func (s *Subscription) ping(ctx context.Context, conn *websocket.Conn) {
	ticker := time.NewTicker(pingPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s.write.Lock()
		_ = conn.SetWriteDeadline(time.Now().Add(pingPeriod))
		// The first is what servers of the original look for, the second is answered.
		err := errors.Join(conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`)), conn.WriteMessage(websocket.PingMessage, nil))
		s.write.Unlock()
		if err != nil {
			return // the reader finds out
		}
	}
}

// message is any message of the server.
type message struct {
	Type       string `json:"type"`
	ID         string `json:"subscription_id"`
	ChangeType string `json:"change_type"`
	Rows       []Row  `json:"rows"`
	OldValues  []Row  `json:"old_values"`
	Control    struct {
		HasMore bool   `json:"has_more"`
		Status  string `json:"status"`
	} `json:"batch_control"`
	Whole   bool   `json:"whole"`
	HasMore bool   `json:"has_more"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Final   bool   `json:"final"`
}

// take turns a message into events.
func (s *Subscription) take(data []byte) error {
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.UseNumber()
	var m message
	if err := decoder.Decode(&m); err != nil {
		return fmt.Errorf("message of the server: %w", err)
	}
	s.refused = -1
	number, malformed := strconv.Atoi(strings.TrimPrefix(m.ID, "live-"))
	known := malformed == nil && number >= 0 && number < len(s.queries)
	switch {
	case m.Type == "error":
		if known {
			s.refused = number
		}
		return &Error{Code: m.Code, Message: m.Message, Final: m.Final}
	case m.Type == "cut_ready":
		s.pending = append(s.pending, Event{Kind: Cut})
		return nil
	case !known:
		return nil // of a later server
	}
	f := &s.queries[number]
	give := func(kind EventKind, m *message) {
		s.pending = append(s.pending, Event{
			Kind: kind, Query: number, Rows: m.Rows, OldValues: m.OldValues, Cursor: f.cursor, More: m.HasMore,
		})
	}
	switch m.Type {
	case "subscription_ack":
		if m.Whole && f.begun {
			give(Reset, &message{})
		}
		f.begun = true
	case "initial_data_batch":
		if len(m.Rows) > 0 {
			f.note(m.Rows)
			give(Rows, &m)
		}
		if m.Control.HasMore {
			return s.send(map[string]any{"type": "next_batch", "subscription_id": m.ID})
		}
		give(Ready, &message{})
	case "change":
		f.note(m.Rows)
		if len(m.Rows) == 0 {
			f.note(m.OldValues)
		}
		give(EventKind(m.ChangeType), &m)
	}
	return nil
}

// note moves the cursor.
func (f *followed) note(rows []Row) {
	for _, row := range rows {
		text, ok := row["_seq"].(string)
		if !ok {
			continue
		}
		if seq, err := strconv.ParseUint(text, 10, 64); err == nil {
			f.cursor = max(f.cursor, seq)
		}
	}
}
