package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/loopback"
)

// liveTable makes the table of the live cases; liveSentColumn is when a row was sent, in nanoseconds since 1970 UTC.
var liveTable = []string{
	"CREATE NAMESPACE bench",
	"CREATE TABLE bench.live (id BIGINT PRIMARY KEY, room BIGINT, sent BIGINT, body TEXT) WITH (TYPE = 'SHARED')",
}

const liveSentColumn = 2

// startLiveServers starts one standalone server, or a cluster of them, with the table of the live cases.
func startLiveServers(ctx context.Context, count int) (*serverCluster, error) {
	c, err := newServerCluster("kalamdb-live-", 256)
	if err != nil {
		return nil, err
	}
	c.http.Timeout = startPatience
	if err := c.startLive(ctx, count); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

func (c *serverCluster) startLive(ctx context.Context, count int) error {
	addresses, err := loopback.Addresses(ctx, 2*count)
	if err != nil {
		return err
	}
	rpc, api := addresses[:count], addresses[count:]
	var peers []map[string]any
	for i := range count {
		if count > 1 {
			peers = append(peers, map[string]any{"node_id": i + 1, "rpc_addr": rpc[i], "api_addr": api[i]})
		}
	}
	for i := range count {
		if err := c.add(ctx, rpc[i], api[i], peers, FailoverOptions{HeartbeatMillis: 250, ElectionMillis: []int64{500, 1000}}); err != nil {
			return err
		}
	}
	return c.prepare(ctx, liveTable)
}

// raiseOpenFiles lets this process, and those it starts, open as many files as the system allows it.
func raiseOpenFiles(wanted int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	if uint64(wanted/2) > limit.Cur {
		return fmt.Errorf("%d connections need %d open files, the system allows %d; raise the limit (ulimit -Hn) or use fewer", wanted/2, wanted/2, limit.Cur)
	}
	return nil
}

// processTime reads the processor time of a process from /proc; zero where there is none.
func processTime(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may hold anything; behind it come numbers.
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	return time.Duration(user+system) * tick
}

// settlePause is the quiet time before a resident set is looked at.
const settlePause = 5 * time.Second

// settledRSS is the resident set of the target server once it no longer changes much.
func (l *liveLab) settledRSS() (int64, error) {
	pid := l.servers[l.target].process.Process.Pid
	last := int64(0)
	// What a burst of connections took is handed back once it is over.
	if err := rest(l.ctx, settlePause); err != nil {
		return 0, err
	}
	for range 20 {
		if err := rest(l.ctx, 250*time.Millisecond); err != nil {
			return 0, err
		}
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			return 0, fmt.Errorf("resident set: %w", err)
		}
		var total, resident int64
		if _, err := fmt.Sscan(string(raw), &total, &resident); err != nil {
			return 0, fmt.Errorf("resident set: %w", err)
		}
		resident *= int64(os.Getpagesize())
		if last > 0 && resident-last < last/200 && last-resident < last/200 {
			return resident, nil
		}
		last = resident
	}
	return last, nil
}

// liveBody makes a change about 200 bytes on the wire.
var liveBody = strings.Repeat("words ", 10)

// clients runs as many at once for the duration of a case.
func (l *liveLab) clients(count int, run func(stop <-chan struct{}) error) error {
	stop := make(chan struct{})
	failed := make([]error, count)
	var group sync.WaitGroup
	for i := range count {
		group.Go(func() { failed[i] = run(stop) })
	}
	err := rest(l.ctx, l.options.Duration)
	close(stop)
	group.Wait()
	return errors.Join(append(failed, err)...)
}

func open(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return false
	default:
		return true
	}
}

// closedLoop is how many rows 16 clients write per second, and what a row costs the servers.
func (l *liveLab) closedLoop(rooms int) (rate, cpu float64, err error) {
	first, before, begin := l.nextID.Load(), l.cpu(), time.Now()
	err = l.clients(16, func(stop <-chan struct{}) error {
		for open(stop) {
			if failed := l.insert(rooms); failed != nil {
				return failed
			}
		}
		return nil
	})
	count := float64(l.nextID.Load() - first)
	return count / time.Since(begin).Seconds(), float64((l.cpu() - before).Microseconds()) / count, err
}

// pacers is how many writers keep a rate.
func pacers(rate int) int { return min(32, max(1, rate/50)) }

// paced writes at a rate and returns how many rows it wrote. Each writer keeps its own beat, and the beats lie evenly
// behind each other: writers in step would all wait for the same sync, and for each other.
func (l *liveLab) paced(rate, rooms int) (int, error) {
	writers := pacers(rate)
	first := l.nextID.Load()
	var number atomic.Int64
	err := l.clients(writers, func(stop <-chan struct{}) error {
		late := time.Duration(number.Add(1)-1) * time.Second / time.Duration(rate)
		return everyBeat(stop, late, time.Duration(writers)*time.Second/time.Duration(rate), func() error { return l.insert(rooms) })
	})
	return int(l.nextID.Load() - first), err
}

// everyBeat calls do at each beat, the first of which comes late, until it fails or is to stop.
func everyBeat(stop <-chan struct{}, late, beat time.Duration, do func() error) error {
	wait := time.NewTimer(late)
	defer wait.Stop()
	select {
	case <-stop:
		return nil
	case <-wait.C:
	}
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-ticker.C:
		}
		if err := do(); err != nil {
			return err
		}
	}
}
