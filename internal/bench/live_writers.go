package bench

import (
	"fmt"
	"sync"
	"time"
)

// liveWriters are connections over which statements go to one server, each used by one client at a time. They cost
// little: a client of net/http would add as much to the time of an answer as the server takes for a small one.
type liveWriters struct {
	mu     sync.Mutex // guards all below
	idle   []*sqlConnection
	all    []*sqlConnection
	waited latencies // for answers, since the last take
}

// ask sends a body to the first server.
func (l *liveLab) ask(body string) error {
	w := &l.writers
	w.mu.Lock()
	var c *sqlConnection
	if last := len(w.idle) - 1; last >= 0 {
		c, w.idle = w.idle[last], w.idle[:last]
	}
	w.mu.Unlock()
	if c == nil {
		var err error
		if c, err = dialSQL(l.ctx, l.servers[0].api, l.token, false); err != nil {
			return err
		}
		w.mu.Lock()
		w.all = append(w.all, c)
		w.mu.Unlock()
	}
	started := time.Now()
	if _, err := c.ask(body); err != nil {
		return err
	}
	w.mu.Lock()
	w.idle, w.waited = append(w.idle, c), append(w.waited, time.Since(started))
	w.mu.Unlock()
	return nil
}

// insert writes a row to one of the rooms.
func (l *liveLab) insert(rooms int) error {
	id := l.nextID.Add(1)
	return l.ask(fmt.Sprintf(`{"sql":"INSERT INTO bench.live VALUES ($1, $2, $3, $4)","params":[%d,%d,%d,"%s"]}`,
		id, id%int64(rooms), time.Now().UnixNano(), liveBody))
}

// takeWaits returns, sorted, how long answers took since the last call.
func (w *liveWriters) takeWaits() latencies {
	w.mu.Lock()
	defer w.mu.Unlock()
	waited := merge([]latencies{w.waited})
	w.waited = nil
	return waited
}

// close ends the connections.
func (w *liveWriters) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.all {
		_ = c.Close() // nothing is owed
	}
}

// selects is SELECT 1 over HTTP, for one client and for 64.
func (l *liveLab) selects() error {
	for _, clients := range []int{1, 64} {
		var took []latencies
		var mu sync.Mutex
		cpu := l.cpu()
		err := l.clients(clients, func(stop <-chan struct{}) error {
			var mine latencies
			for open(stop) {
				started := time.Now()
				if err := l.ask(selectOne(0, 0)); err != nil {
					return err
				}
				mine = append(mine, time.Since(started))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine)
			return nil
		})
		if err != nil {
			return err
		}
		all := merge(took)
		err = l.print(liveCase{
			Case: fmt.Sprintf("select_1_of_%d_clients", clients), Connections: clients, Value: float64(len(all)) / l.options.Duration.Seconds(),
			Unit: "answers_per_s", P50: 1000 * all.quantile(0.5), P99: 1000 * all.quantile(0.99),
			CPU: float64((l.cpu() - cpu).Microseconds()) / float64(len(all)),
		})
		if err != nil {
			return err
		}
	}
	return nil
}
