package sim

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/backup"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// ends lets time pass until a run has ended, and the whole cluster is well again.
func (l *lab) ends(a *actor, victim *simNode) {
	life := victim.life
	l.until(2*healBound, "the run has ended", func() bool { return a.ended })
	if victim.life == life {
		victim.disk.crashIn = 0
	}
	l.whole()
}

// backupCrashes makes backups at one place again and again, and lets the power of the node that makes them fail at the first, the second, the
// third change, until a backup goes through. The job goes on: in the bucket on another node.
func backupCrashes(l *lab, place string) {
	l.sqlTables()
	l.count(l.nodes[0], 10)
	at, next := l.nodes[0], l.nodes[1]
	if place == onDisk {
		next = at
	}
	crashes, goneOn := 0, 0
	for round, through := 1, false; !through; round++ {
		l.write(l.nodes[1], round)
		if round%8 == 2 {
			a := l.coldWork(l.nodes[1], nil)
			l.until(time.Minute, "the flush has ended", func() bool { return a.ended })
		}
		number := l.order(applier.JobTypeBackup, place)
		l.whole()
		life := at.life
		at.disk.crashIn = round
		l.ends(l.carryOut(at, number, nil), at)
		through = at.life == life
		store, err := at.backupPlace(place)
		if err != nil {
			l.fail("the place: %v", err)
		}
		before := l.verifyBackups(store)
		if !through {
			crashes++
		}
		if _, state := l.jobState(at, number); state != catalog.JobCompleted {
			if through {
				l.fail("round %d: the run was not disturbed, and the job is %s", round, state)
			}
			goneOn++
			l.run(coldHold + time.Second)
			l.ends(l.carryOut(next, number, nil), next)
		}
		if job, state := l.jobState(at, number); state != catalog.JobCompleted {
			l.fail("round %d: the job is %s: %s", round, state, job.GetError())
		}
		names := l.verifyBackups(store)
		if len(names) < len(before) {
			l.fail("round %d: there were the backups %v, now %v", round, before, names)
		}
		m, err := backup.Load(context.Background(), store, "")
		if err != nil || m.Totals.Rows != l.liveRows() {
			l.fail("round %d: the newest backup has %+v, the log says %d rows: %v", round, m, l.liveRows(), err)
		}
		if round > 400 {
			l.fail("a backup never goes through")
		}
	}
	if crashes < 15 || goneOn < 10 {
		l.fail("only %d crashes, after which %d jobs went on", crashes, goneOn)
	}
	l.t.Logf("%d crashes, %d jobs went on", crashes, goneOn)
}

// TestBackupCrashAtEveryChange ends the node that makes a backup before each change of its disk and around each object that it puts into a bucket:
// what lies there by then is a whole backup or none, and the job makes one with all rows.
func TestBackupCrashAtEveryChange(t *testing.T) {
	t.Run("bucket", func(t *testing.T) { scenario(t, 3, coldCluster, func(l *lab) { backupCrashes(l, bucketName) }) })
	t.Run("directory", func(t *testing.T) { scenario(t, 3, coldCluster, func(l *lab) { backupCrashes(l, onDisk) }) })
}

// original is a world that was backed up.
type original struct {
	objects map[string][]byte
	users   []string
	private uint64
	shared  uint64
	sqlIDs  map[uint64]bool
	seen    string
}

// backedUp fills a world with hot and cold rows and backs it up.
func backedUp(t *testing.T) (o original) {
	t.Helper()
	scenario(t, 3, coldCluster, func(l *lab) {
		l.sqlTables()
		l.count(l.nodes[0], 15)
		for round := range 5 {
			l.write(l.nodes[0], round+1)
			if round == 2 {
				a := l.coldWork(l.nodes[0], nil)
				l.until(time.Minute, "the flush has ended", func() bool { return a.ended })
			}
			l.do(l.nodes[1], func(s *session) {
				for i, user := range l.c.users {
					if _, err := s.sql(user, fmt.Sprintf("INSERT INTO ledger (id, tag, n) VALUES ('r%d', 't', %d)", round, i)); err != nil {
						l.fail("%s: %v", user, err)
					}
				}
			})
		}
		number := l.order(applier.JobTypeBackup, bucketName)
		l.whole()
		l.ends(l.carryOut(l.nodes[0], number, nil), l.nodes[0])
		if names := l.verifyBackups(l.bucket); len(names) != 1 {
			l.fail("there are the backups %v", names)
		}
		o = original{maps.Clone(l.bucket.objects), l.c.users, l.c.private, l.c.shared, maps.Clone(l.sqlIDs), l.seen()}
	})
	return o
}

// into tells a story in an empty world of another size that sees the backup of an original.
func (o original) into(t *testing.T, story func(*lab)) {
	t.Helper()
	if w, err := o.tell(t, nil, story); err != nil {
		t.Fatal(w.report(err))
	}
}

// tell is into with a planted bug; it returns what was broken.
func (o original) tell(t *testing.T, m *mutant, story func(*lab)) (*world, error) {
	t.Helper()
	seed := envNumber(t, "SEED", 1)
	opt := defaultOptions()
	coldCluster(&opt)
	opt.noBalance, opt.shards = true, shard.Map{UserShards: 3, SharedShards: 2}
	w := newWorld(t, seed, opt, calmPlan(), m)
	if *verbose {
		w.trace.print = func(line string) { t.Log(line) }
	}
	w.bucket.objects, w.sqlIDs = maps.Clone(o.objects), maps.Clone(o.sqlIDs)
	l := &lab{world: w, c: &clients{w: w, users: o.users, private: o.private, shared: o.shared}}
	l.c.group = w.shards.RouteTable(ident.TableID(o.shared))
	return w, w.attempt(func() {
		w.found()
		for _, n := range w.nodes[1:] {
			w.boot(n)
		}
		l.until(healBound, "the cluster is founded", func() bool {
			for _, n := range w.nodes {
				if n.catalog.Current().Cluster() == nil {
					return false
				}
			}
			return true
		})
		l.whole()
		story(l)
		l.heal(l.c)
		l.judge()
	})
}

// TestRestoreCrashAtEveryChange ends the node that restores a backup before each change of its disk. The job goes on each time, and in the end
// clients see what they saw in the cluster that was backed up.
func TestRestoreCrashAtEveryChange(t *testing.T) {
	var o original
	t.Run("backup", func(t *testing.T) { o = backedUp(t) })
	t.Run("restore", func(t *testing.T) {
		o.into(t, func(l *lab) {
			number := l.order(applier.JobTypeRestore, bucketName)
			at, crashes := l.nodes[0], 0
			l.whole()
			for round := 1; ; round++ {
				life := at.life
				at.disk.crashIn = round
				l.ends(l.carryOut(at, number, nil), at)
				job, state := l.jobState(at, number)
				if at.life != life {
					crashes++
				}
				if state == catalog.JobCompleted {
					break
				}
				if at.life == life || round > 400 {
					l.fail("round %d: the job is %s: %s", round, state, job.GetError())
				}
				l.run(coldHold + time.Second)
			}
			if got := l.seen(); got != o.seen {
				l.fail("clients see\n%s\nin the original\n%s", got, o.seen)
			}
			if crashes < 15 {
				l.fail("only %d crashes", crashes)
			}
			l.t.Logf("%d crashes", crashes)
		})
	})
}

// TestRestoreGoesOnAfterItsClaim lets a run of a restore sleep at each step for longer than its claim holds. Another node restores the backup meanwhile
// and clients change what is there; then the first run wakes. Nothing that it does counts, and the job ends once.
func TestRestoreGoesOnAfterItsClaim(t *testing.T) {
	var o original
	t.Run("backup", func(t *testing.T) { o = backedUp(t) })
	for _, step := range []string{"catalog", "begin", "rows", "check", "users", "restored"} {
		t.Run(step, func(t *testing.T) { o.into(t, func(l *lab) { sleepyRestore(l, o, step) }) })
	}
}

// TestRestoreWithoutTokensIsFound plants a bug: rows of a restore carry no token, so that those of a run that lost its job overwrite what clients wrote
// since.
func TestRestoreWithoutTokensIsFound(t *testing.T) {
	var o original
	t.Run("backup", func(t *testing.T) { o = backedUp(t) })
	t.Run("restore", func(t *testing.T) {
		m := &mutant{onCold: func(cmd *commandv1.Command) {
			if rows := cmd.GetWriteRows(); rows != nil {
				rows.RestoreToken, rows.RestoreOrigin = 0, 0
			}
		}}
		_, err := o.tell(t, m, func(l *lab) { sleepyRestore(l, o, "rows") })
		if err == nil || !strings.Contains(err.Error(), "a run that lost its job changed") {
			t.Errorf("the bug is not found: %v", err)
		}
	})
}

func sleepyRestore(l *lab, o original, at string) {
	number := l.order(applier.JobTypeRestore, bucketName)
	l.whole()
	slept, woken := false, false
	first := l.carryOut(l.nodes[0], number, func(s *session, name string) error {
		if name != at || slept {
			return nil
		}
		for slept = true; !woken; {
			if !s.give() {
				return s.err
			}
		}
		return nil
	})
	l.until(time.Minute, "the first run sleeps", func() bool { return slept })
	l.run(coldHold + time.Second)
	second := l.carryOut(l.nodes[1], number, nil)
	l.until(healBound, "the second run has ended", func() bool { return second.ended })
	l.run(time.Second)
	if job, state := l.jobState(l.nodes[1], number); state != catalog.JobCompleted || l.stats.jobs != 1 {
		l.fail("after the second run the job is %s: %s", state, job.GetError())
	}
	if got := l.seen(); got != o.seen {
		l.fail("clients see\n%s\nin the original\n%s", got, o.seen)
	}
	l.do(l.nodes[2], func(s *session) {
		for _, statement := range []string{"UPDATE board SET n = 77 WHERE true", "DELETE FROM board WHERE id = 'again'", "UPDATE ledger SET n = 78 WHERE true"} {
			if _, err := s.sql(l.c.users[0], statement); err != nil {
				l.fail("%s: %v", statement, err)
			}
		}
	})
	changed, twice := l.seen(), l.stats.twice
	if changed == o.seen {
		l.fail("nothing was changed")
	}
	woken = true
	l.until(healBound, "the first run has ended", func() bool { return first.ended })
	l.whole()
	if got := l.seen(); got != changed {
		l.fail("a run that lost its job changed\n%s\ninto\n%s", changed, got)
	}
	if _, state := l.jobState(l.nodes[2], number); state != catalog.JobCompleted || l.stats.jobs != 1 || l.stats.twice != twice+1 {
		l.fail("the job is %s; it was completed %d times, and %d reports were refused", state, l.stats.jobs, l.stats.twice-twice)
	}
}

// TestBackupGoesOnAfterItsClaim lets a run of a backup sleep in front of its last word for longer than its claim holds. Another node makes the backup
// meanwhile; then the first run wakes. Its backup is whole, but the cluster goes on remembering that of the run which had the job.
func TestBackupGoesOnAfterItsClaim(t *testing.T) { nothing().into(t, sleepyBackup) }

// nothing is a world without rows of which there is no backup.
func nothing() original { return original{objects: map[string][]byte{}, sqlIDs: map[uint64]bool{}} }

// TestBackupWithoutTokensIsFound plants a bug: the record of a backup carries no token.
func TestBackupWithoutTokensIsFound(t *testing.T) {
	m := &mutant{onCold: func(cmd *commandv1.Command) {
		if record := cmd.GetRecordBackup(); record != nil {
			record.Token = 0
		}
	}}
	if _, err := nothing().tell(t, m, sleepyBackup); err == nil || !strings.Contains(err.Error(), "a run that lost its job changed") {
		t.Errorf("the bug is not found: %v", err)
	}
}

func sleepyBackup(l *lab) {
	number := l.order(applier.JobTypeBackup, bucketName)
	l.whole()
	slept, woken := false, false
	first := l.carryOut(l.nodes[0], number, func(s *session, name string) error {
		if name != "written" || slept {
			return nil
		}
		for slept = true; !woken; {
			if !s.give() {
				return s.err
			}
		}
		return nil
	})
	l.until(time.Minute, "the first run sleeps", func() bool { return slept })
	l.run(coldHold + time.Second)
	second := l.carryOut(l.nodes[1], number, nil)
	l.until(healBound, "the second run has ended", func() bool { return second.ended })
	l.run(time.Second)
	if job, state := l.jobState(l.nodes[1], number); state != catalog.JobCompleted {
		l.fail("after the second run the job is %s: %s", state, job.GetError())
	}
	before := l.remembered()
	woken = true
	l.until(healBound, "the first run has ended", func() bool { return first.ended })
	l.whole()
	if after := l.remembered(); after != before || before == "" {
		l.fail("a run that lost its job changed %s into %s", before, after)
	}
	if names := l.verifyBackups(l.bucket); len(names) != 2 || names[1] != before {
		l.fail("there are the backups %v, and the cluster remembers %s", names, before)
	}
}

// remembered names the backups that the cluster remembers.
func (l *lab) remembered() string {
	backups, err := catalog.LoadBackups(l.nodes[2].store)
	if err != nil {
		l.fail("backups: %v", err)
	}
	var names []string
	for _, b := range backups {
		names = append(names, b.GetName())
	}
	return strings.Join(names, " ")
}
