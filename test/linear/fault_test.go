package linear

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/loopback"
)

// fault breaks something and returns how to mend it.
type fault struct {
	name string
	once bool // it takes longer than others, so it comes once in a while
	act  func(l *lab, victim int, random *rand.Rand) (mend func() error, err error)
	// hits is asked before it is mended: how often it hit something, by the wires, the processes or the fail points.
	hits func(l *lab, victim int) (int, error)
}

// happening is a fault that was.
type happening struct {
	name       string
	victim     int
	begin, end time.Duration
	hits       int
}

func (h happening) String() string {
	return fmt.Sprintf("%s of server %d, %v to %v, %d hits", h.name, h.victim, h.begin.Round(time.Millisecond), h.end.Round(time.Millisecond), h.hits)
}

// faults are all that can happen. Each is mended before the next one, so a majority is well in between.
func faults() []fault {
	return []fault{
		{name: "isolation", hits: held, act: func(l *lab, victim int, _ *rand.Rand) (func() error, error) {
			l.wires.Cut(loopback.Alone(victim))
			return l.mendWires, nil
		}},
		{name: "one-way isolation, silent", hits: held, act: func(l *lab, victim int, _ *rand.Rand) (func() error, error) {
			l.wires.Cut(func(from, _ int) bool { return from == victim })
			return l.mendWires, nil
		}},
		{name: "one-way isolation, deaf", hits: held, act: func(l *lab, victim int, _ *rand.Rand) (func() error, error) {
			l.wires.Cut(func(_, to int) bool { return to == victim })
			return l.mendWires, nil
		}},
		{name: "blackhole between the two others", hits: held, act: func(l *lab, victim int, _ *rand.Rand) (func() error, error) {
			l.wires.Cut(func(from, to int) bool { return from != victim && to != victim })
			return l.mendWires, nil
		}},
		{name: "partition of all", hits: held, act: func(l *lab, _ int, _ *rand.Rand) (func() error, error) {
			l.wires.Cut(func(int, int) bool { return true })
			return l.mendWires, nil
		}},
		{name: "delay", hits: held, act: func(l *lab, victim int, random *rand.Rand) (func() error, error) {
			l.wires.Delay(loopback.Alone(victim), time.Duration(20+random.IntN(200))*time.Millisecond)
			return l.mendWires, nil
		}},
		{name: "kill", hits: killed, act: func(l *lab, victim int, _ *rand.Rand) (func() error, error) {
			p := l.servers[victim-1]
			return p.start, p.end(syscall.SIGKILL)
		}},
		{name: "kill and at once start", hits: killed, act: func(l *lab, victim int, _ *rand.Rand) (func() error, error) {
			p := l.servers[victim-1]
			if err := p.end(syscall.SIGKILL); err != nil {
				return nil, err
			}
			return func() error { return nil }, p.start()
		}},
		{name: "kill of all", hits: killed, act: func(l *lab, _ int, _ *rand.Rand) (func() error, error) {
			for _, p := range l.servers {
				if err := p.end(syscall.SIGKILL); err != nil {
					return nil, err
				}
			}
			return l.startAll, nil
		}},
		{name: "pause", hits: stopped, act: func(l *lab, victim int, _ *rand.Rand) (func() error, error) {
			p := l.servers[victim-1]
			return p.resume, p.pause()
		}},
		{name: "pause of two", hits: stopped, act: func(l *lab, victim int, _ *rand.Rand) (func() error, error) {
			one, two := l.servers[victim-1], l.servers[victim%size]
			if err := one.pause(); err != nil {
				return nil, err
			}
			return func() error {
				if err := one.resume(); err != nil {
					return err
				}
				return two.resume()
			}, two.pause()
		}},
		{name: "polite restart", hits: leftPolitely, act: func(l *lab, victim int, _ *rand.Rand) (func() error, error) {
			p := l.servers[victim-1]
			return p.start, p.end(syscall.SIGTERM)
		}},
		{name: "wipe", once: true, hits: isAnother, act: func(l *lab, victim int, _ *rand.Rand) (func() error, error) {
			p := l.servers[victim-1]
			if err := p.end(syscall.SIGKILL); err != nil {
				return nil, err
			}
			p.before = p.identity()
			return func() error { return l.waitReady() }, errors.Join(os.RemoveAll(p.dir), p.start())
		}},
	}
}

// faults are those that these servers can have.
func (l *lab) faults() []fault {
	kinds := faults()
	if l.servers[0].points != "" {
		kinds = append(kinds, pointFaults()...)
	}
	if l.only == nil {
		return kinds
	}
	return slices.DeleteFunc(kinds, func(f fault) bool { return !slices.Contains(l.only, f.name) })
}

func (l *lab) mendWires() error {
	l.wires.Mend()
	return nil
}

// rage lets faults come and go for some time, each followed by some calm. Every kind comes before any comes again, and if all
// are wanted, for as long as that takes. The error says which servers did not bear it.
func rage(l *lab, t *traffic, period time.Duration, all bool, random *rand.Rand) (log []happening, err error) {
	var waiting []fault
	began := time.Now()
	for round := 0; time.Since(began) < period || all && round < len(l.faults()); round++ {
		if len(waiting) == 0 {
			waiting = l.faults()
			random.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
		}
		one := waiting[0]
		waiting = waiting[1:]
		h := happening{name: one.name, victim: 1 + random.IntN(size), begin: t.now()}
		if one.once {
			// Nothing that is acknowledged may be on this server alone.
			if err := l.waitReady(); err != nil {
				return log, err
			}
		}
		l.held, l.starts = l.wires.Held(), l.allStarts()
		mend, err := one.act(l, h.victim, random)
		if err != nil {
			return log, fmt.Errorf("%v: %w", h, err)
		}
		l.sit(time.Duration(600+random.IntN(1600)) * time.Millisecond)
		hits, err := one.hits(l, h.victim)
		if err != nil {
			return log, fmt.Errorf("%v: %w", h, err)
		}
		h.hits = hits
		if err := mend(); err != nil {
			return log, fmt.Errorf("mend %v: %w", h, err)
		}
		h.end = t.now()
		log = append(log, h)
		l.sit(time.Duration(400+random.IntN(900)) * time.Millisecond)
		if err := l.died(); err != nil {
			return log, fmt.Errorf("after %v: %w", h, err)
		}
	}
	return log, nil
}

// sit lets time go by: the length of a fault, or of the calm behind it.
func (l *lab) sit(period time.Duration) {
	timer := time.NewTimer(period)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.t.Context().Done():
	}
}
