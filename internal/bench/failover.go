package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/loopback"
)

// FailoverOptions say what to break and how often.
type FailoverOptions struct {
	Kinds           []string // crash, pause, partition, transfer
	Rounds          int      // faults of each kind
	Clients         int      // writers, spread over the nodes
	HeartbeatMillis int64
	ElectionMillis  []int64 // least and greatest election timeout
	gcPercent       int     // of the servers, zero for their default
}

// Validate reports the first option that cannot work.
func (o FailoverOptions) Validate() error {
	for _, kind := range o.Kinds {
		if !slices.Contains([]string{"crash", "pause", "partition", "transfer"}, kind) {
			return fmt.Errorf("kind %q is none of crash, pause, partition, transfer", kind)
		}
	}
	if o.Rounds < 1 || o.Clients < 1 || len(o.ElectionMillis) != 2 {
		return errors.New("want at least one round, one client and two election timeouts")
	}
	return nil
}

// failoverCase is one printed result.
type failoverCase struct {
	Kind string `json:"kind"`
	// WorstUnavailableMillis is the longest time any client waited for its next acknowledged write.
	WorstUnavailableMillis float64 `json:"worst_unavailable_ms"`
	Lost                   int     `json:"lost"` // acknowledged writes that cannot be read afterwards
	MedianMillis           float64 `json:"median_worst_ms"`
	CalmMillis             float64 `json:"calm_worst_ms"` // the same without a fault
	Writes                 int     `json:"writes"`
	Rounds                 int     `json:"rounds"`
	Clients                int     `json:"clients"`
	ElectionMaxMillis      int64   `json:"election_timeout_max_ms"`
}

// How long clients write before a fault, how long a pause or a partition lasts, and after which the clients
// must have recovered.
const (
	failoverCalm    = time.Second
	failoverOutage  = 3 * time.Second
	failoverRecover = 30 * time.Second
)

// Failover breaks a cluster of three real servers under load, again and again, and prints one JSON object for
// each kind of fault. The writers write to one shared table; the fault hits the leader of its group.
func Failover(ctx context.Context, o FailoverOptions, out io.Writer) (err error) {
	if err = o.Validate(); err != nil {
		return err
	}
	c, err := startServers(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	for i, kind := range o.Kinds {
		result, err := c.failover(ctx, i, kind, o)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		if err := printJSON(out, result); err != nil {
			return err
		}
	}
	return nil
}

// failover runs all rounds of one kind.
func (c *serverCluster) failover(ctx context.Context, number int, kind string, o FailoverOptions) (*failoverCase, error) {
	result := &failoverCase{Kind: kind, Rounds: o.Rounds, Clients: o.Clients, ElectionMaxMillis: o.ElectionMillis[1]}
	var worst latencies
	for round := range o.Rounds {
		load := c.startLoad(ctx, o, int64(number*o.Rounds+round)*idsPerRound)
		calm, gap, err := c.disturb(ctx, kind, load)
		load.stop()
		if err != nil {
			return nil, err
		}
		worst = append(worst, gap)
		result.CalmMillis = math.Max(result.CalmMillis, float64(calm.Microseconds())/1000)
		result.Writes += load.acknowledged()
		lost, err := c.countLost(ctx, load)
		if err != nil {
			return nil, err
		}
		result.Lost += lost
	}
	slices.Sort(worst)
	result.MedianMillis, result.WorstUnavailableMillis = worst.quantile(0.5), worst.quantile(1)
	return result, nil
}

// disturb waits for a calm second, does the damage, waits until every client is served again, and repairs it.
// It returns the longest waits of a client in the calm and from the fault on.
func (c *serverCluster) disturb(ctx context.Context, kind string, load *load) (calm, gap time.Duration, err error) {
	if err = load.settle(ctx); err != nil {
		return 0, 0, fmt.Errorf("before the fault: %w", err)
	}
	load.resetGaps()
	if err = rest(ctx, failoverCalm); err != nil {
		return 0, 0, err
	}
	calm = load.worstGap()
	victim, err := c.leader(ctx)
	if err != nil {
		return 0, 0, err
	}
	load.resetGaps()
	repair, err := c.harm(ctx, kind, victim)
	if err != nil {
		return 0, 0, err
	}
	if kind != "transfer" {
		err = rest(ctx, failoverOutage)
	}
	if err == nil {
		err = load.settle(ctx)
	}
	gap = load.worstGap()
	if repairErr := repair(); err == nil {
		err = repairErr
	}
	if err == nil {
		err = c.ready(ctx)
	}
	return calm, gap, err
}

// harm does one kind of damage to a server and returns what mends it.
func (c *serverCluster) harm(ctx context.Context, kind string, victim int) (repair func() error, err error) {
	s := c.servers[victim]
	none := func() error { return nil }
	switch kind {
	case "crash":
		if err = s.process.Process.Kill(); err != nil {
			return none, fmt.Errorf("kill server %d: %w", victim+1, err)
		}
		<-s.ended
		return func() error { return s.start(ctx) }, nil
	case "pause":
		if err = s.process.Process.Signal(syscall.SIGSTOP); err != nil {
			return none, fmt.Errorf("pause server %d: %w", victim+1, err)
		}
		return func() error { return s.process.Process.Signal(syscall.SIGCONT) }, nil
	case "partition":
		c.wires.Cut(loopback.Alone(victim))
		return func() error { c.wires.Mend(); return nil }, nil
	}
	to := (victim+1)%nodes + 1
	_, err = c.sql(ctx, c.servers[victim], fmt.Sprintf("CLUSTER TRANSFER LEADER %d ON GROUP %d", to, failoverGroup))
	return none, err
}

// rest lets time pass.
func rest(ctx context.Context, d time.Duration) error {
	return clock.Pause(ctx, clock.Real{}, d)
}

// stop ends the servers and removes their data.
func (c *serverCluster) stop() error {
	for _, s := range c.servers {
		s.kill()
	}
	c.wires.Close()
	return os.RemoveAll(c.dir)
}
