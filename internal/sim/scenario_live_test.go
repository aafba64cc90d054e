package sim

import (
	"slices"
	"strings"
	"testing"
)

// watching makes a client of every live query at a node and lets it have its initial rows.
func (l *lab) watching(n *simNode) []*watcher {
	var list []*watcher
	for _, q := range liveQueries() {
		w := l.c.newWatcher(q)
		l.do(n, w.begin)
		if w.sub == nil {
			l.fail("node %d does not take a live query", n.id)
		}
		list = append(list, w)
	}
	return list
}

// liveTables makes the tables of live queries and writes to them.
func (l *lab) liveTables() {
	l.c.busy, l.load = true, l.c
	l.c.live.rows, l.c.live.retained = make(map[string]liveRow), nil
	setUp := l.spawn("live tables", l.c.setUpLiveTables)
	l.until(healBound, "the tables exist", func() bool { return setUp.ended })
}

// overASnapshot is the story of a node that is cut off while clients follow live queries there, and gets what it missed
// as a snapshot.
func overASnapshot(l *lab) {
	l.liveTables()
	n := l.nodes[2]
	l.lead(l.nodes[0])
	l.writeRows(l.nodes[0], 10)
	l.whole()
	watchers := l.watching(n)
	before := l.installed(n)
	l.isolate(n)
	l.writeRows(l.nodes[0], 40)
	l.settle(l.nodes[0], l.nodes[1])
	l.healNetwork()
	l.whole()
	if l.installed(n) == before {
		l.fail("node %d got no snapshot", n.id)
	}
	l.writeRows(l.nodes[0], 10)
	l.whole()
	told := l.stats.liveTold
	for _, w := range watchers {
		w.judge()
		if w.sub == nil {
			l.fail("live query %s did not go on", w.q.sql)
		}
		w.leave()
	}
	if told == 0 {
		l.fail("nothing was told")
	}
	l.c.busy = false
}

// writeRows runs statements of writers at a node.
func (l *lab) writeRows(n *simNode, times int) {
	for i := range times {
		l.do(n, func(s *session) { l.c.writeRooms(s, i%2 == 0) })
	}
}

// TestLiveQueriesGoOnOverASnapshot: what a node got as a snapshot is told to those who follow there, from the change log
// in it: nothing is lost and nothing told twice. A service that does not hear of the snapshot is found out.
func TestLiveQueriesGoOnOverASnapshot(t *testing.T) {
	scenario(t, 3, few, overASnapshot)
	deaf := &mutant{name: "live queries are not told of a snapshot", onPublisher: deafFeed}
	if _, err := tell(t, 3, few, deaf, overASnapshot); err == nil || !strings.Contains(err.Error(), "live query") {
		t.Errorf("a service that is not told of snapshots: %v", err)
	}
}

// TestCursorsResumeAnywhere: clients follow on a node that crashes, and go on with their cursors on each of the others,
// with all that was written since, deletes too.
func TestCursorsResumeAnywhere(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		l.liveTables()
		l.writeRows(l.nodes[0], 10)
		watchers := l.watching(l.nodes[2])
		for round := range 6 {
			at, next := l.nodes[(2+round)%3], l.nodes[round%3]
			l.writeRows(next, 5)
			l.run(tickTime)
			l.kill(at)
			for _, w := range watchers {
				w.leave()
			}
			l.writeRows(next, 10)
			for _, w := range watchers {
				l.do(next, w.begin)
				w.judge()
				if w.sub == nil || w.cursor > 0 && w.at == 0 {
					l.fail("live query %s did not resume at node %d", w.q.sql, next.id)
				}
			}
			l.release(at)
			l.whole()
		}
		for _, w := range watchers {
			w.judge()
			w.leave()
		}
		l.c.busy = false
		if l.stats.liveResumed < 20 || l.stats.liveTold < 50 {
			l.fail("hardly anything happened: %+v", l.stats)
		}
	})
}

// TestReconnectStorm: the node that four dozen clients follow at crashes, and all of them come to another one at once, with
// cursors of their own, while rows are written there; half of them have no room at times and come back with what they took.
// Each is told what the log holds, in its order, whole commands at a time.
func TestReconnectStorm(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		l.liveTables()
		l.writeRows(l.nodes[0], 10)
		l.whole()
		var watchers []*watcher
		for range 8 {
			watchers = append(watchers, l.watching(l.nodes[2])...)
		}
		for i, w := range watchers {
			w.slow = i%2 == 1
		}
		for round := range 3 {
			at, next := l.nodes[(2+round)%3], l.nodes[round%3]
			l.writeRows(next, 8)
			l.run(tickTime)
			l.kill(at)
			l.writeRows(next, 8)
			storm := []*actor{l.spawn("writer", func(a *actor) { a.serve(next, func(s *session) { l.c.writeRooms(s, true) }) })}
			for _, w := range watchers {
				w.leave()
				storm = append(storm, l.spawn("storm", func(a *actor) { a.serve(next, w.begin) }))
			}
			l.until(healBound, "everybody has come", func() bool {
				return !slices.ContainsFunc(storm, func(a *actor) bool { return !a.ended })
			})
			l.writeRows(next, 8)
			for _, w := range watchers {
				w.judge()
				if w.sub == nil {
					l.fail("live query %s did not resume at node %d", w.q.sql, next.id)
				}
			}
			l.release(at)
			l.whole()
		}
		full := l.stats.liveFull
		for _, w := range watchers {
			w.slow = false
			if w.full {
				w.leave()
				l.do(l.nodes[2], w.begin)
			}
			w.judge()
			w.leave()
		}
		l.c.busy = false
		if full == 0 || l.stats.liveResumed < 100 || l.stats.liveTold < 500 {
			l.fail("hardly anything happened: %+v", l.stats)
		}
	})
}
