package linear

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/client"
)

// outcome is what a client knows of a call.
type outcome uint8

const (
	done    outcome = iota // it took effect, and the answer is known
	refused                // it took no effect
	unknown                // it may take effect until the end of the run
)

func (o outcome) String() string { return [...]string{"done", "refused", "unknown"}[o] }

// outcomeOf judges the error of a call that writes.
func outcomeOf(err error) outcome {
	var said *client.Error
	switch {
	case err == nil:
		return done
	case errors.Is(err, client.ErrOutcomeUnknown):
		return unknown
	case errors.As(err, &said), client.Unreachable(err):
		return refused
	}
	return unknown
}

// call is when a client asked and when it was answered, since the start of the run.
type call struct {
	client       int
	begin, end   time.Duration
	outcome      outcome
	complaint    string // what an error said
	server       int    // that was asked first
	repeatedCall bool   // the client asks again until it is answered
}

// endless is the end of a call whose outcome is unknown.
const endless = time.Duration(1<<62 - 1)

// until is when the call took effect at the latest.
func (c call) until() time.Duration {
	if c.outcome == unknown {
		return endless
	}
	return c.end
}

func (c call) String() string {
	return fmt.Sprintf("client %d at server %d, %v to %v, %v", c.client, c.server, c.begin.Round(time.Microsecond), c.end.Round(time.Microsecond), c.outcome)
}

// anomaly is one thing that cannot have happened in a correct database.
type anomaly struct {
	workload string
	kind     string
	text     string
	page     []byte // a page of HTML that shows it, or nil
}

// workload is a kind of clients with the rule that their history must keep.
type workload interface {
	name() string
	// prepare makes the tables.
	prepare(ctx context.Context, admin *client.Client) error
	// clients returns the loops of its clients: each makes one call whenever it is asked to.
	clients(t *traffic) []func(ctx context.Context)
	// finish reads what is there once everything is calm.
	finish(ctx context.Context, t *traffic) error
	// judge holds the history against the rule.
	judge() []anomaly
	// summary says in a few words what was done.
	summary() string
}

// traffic runs the clients of all workloads.
type traffic struct {
	lab     *lab
	began   time.Time
	seed    uint64
	http    *http.Client
	stop    context.CancelFunc
	running sync.WaitGroup
	next    int // number of the next client
}

// How long a client waits for one answer, and between two calls.
const (
	answerPatience = 3 * time.Second
	pace           = 8 * time.Millisecond
)

func newTraffic(t *testing.T, l *lab, seed uint64) *traffic {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &traffic{lab: l, seed: seed, http: &http.Client{Timeout: answerPatience, Transport: transport}}
}

// now is the time since the start of the run.
func (t *traffic) now() time.Duration { return time.Since(t.began) }

// user is one client of the lab.
type user struct {
	*client.Client
	*traffic
	number   int
	server   int
	attempts int
	random   *rand.Rand
}

// newUser makes a client that starts at some server and sends each statement at most so many times.
func (t *traffic) newUser(attempts int) *user {
	number := t.next
	t.next++
	urls := make([]string, size)
	for i := range urls {
		urls[i] = t.lab.servers[(number+i)%size].url()
	}
	c, err := client.New(client.Config{
		URLs: urls, User: "root", Password: password, HTTP: t.http, Attempts: attempts, Pause: 20 * time.Millisecond,
	})
	if err != nil {
		panic(err) // the configuration is a constant
	}
	return &user{
		Client: c, traffic: t, number: number, server: number%size + 1, attempts: attempts,
		random: rand.New(rand.NewPCG(t.seed, uint64(number))),
	}
}

// time runs what asks the database and writes down when.
func (u *user) time(ask func() error) call {
	c := call{client: u.number, server: u.server, begin: u.now(), repeatedCall: u.attempts > 1}
	err := ask()
	c.end, c.outcome = u.now(), outcomeOf(err)
	if err != nil {
		c.complaint = err.Error()
	}
	return c
}

// start runs the clients until halt.
func (t *traffic) start(ctx context.Context, workloads []workload) {
	ctx, t.stop = context.WithCancel(ctx)
	t.began = time.Now()
	for _, w := range workloads {
		for _, step := range w.clients(t) {
			t.running.Go(func() {
				ticker := time.NewTicker(pace)
				defer ticker.Stop()
				for ctx.Err() == nil {
					step(ctx)
					select {
					case <-ticker.C:
					case <-ctx.Done():
					}
				}
			})
		}
	}
}

// halt ends the clients; what they were asking counts as unknown.
func (t *traffic) halt() {
	t.stop()
	t.running.Wait()
}

// number reads a cell that holds a whole number.
func number(cell any) (int64, error) {
	text := ""
	switch typed := cell.(type) {
	case json.Number:
		text = typed.String()
	case string:
		text = typed
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cell %v (%T) is not a whole number", cell, cell)
	}
	return n, nil
}

// numbers reads a column of a result.
func numbers(result *client.Result, column int) ([]int64, error) {
	all := make([]int64, 0, len(result.Rows))
	for _, row := range result.Rows {
		n, err := number(row[column])
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

// create runs statements that must succeed.
func create(ctx context.Context, admin *client.Client, statements ...string) error {
	for _, text := range statements {
		if _, err := admin.Exec(ctx, text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}
