package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/backup"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/jobs"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// This file lets nodes make backups and restore them: the real kinds under real claims, into a bucket that all see or a directory of
// the node. The power of a node may fail at each change of its log and of that directory, and in front of and behind each object that it puts
// into the bucket.

// onDisk is the place of backups in a directory of the node that makes them.
const onDisk = "a directory"

// meteredBucket is the bucket as one life of a node sees it.
type meteredBucket struct {
	*bucket
	n    *simNode
	life int
}

// Put implements objstore.Store.
func (m meteredBucket) Put(ctx context.Context, key string, body io.Reader, size int64, opts objstore.PutOptions) (objstore.ObjectInfo, error) {
	op := faultfs.Op{Kind: faultfs.Write, Path: "bucket/" + key, Bytes: int(size)}
	if err := m.n.disk.judgeCold(op, m.n.life == m.life); err != nil {
		return objstore.ObjectInfo{}, err
	}
	info, err := m.bucket.Put(ctx, key, body, size, opts)
	return info, errors.Join(err, m.n.disk.judgeCold(op, m.n.life == m.life))
}

// backupPlace implements jobs.Place.
func (n *simNode) backupPlace(location string) (objstore.Store, error) {
	if location == onDisk {
		return objstore.OpenDir(n.cold.files, backupDir)
	}
	return meteredBucket{n.w.bucket, n, n.life}, nil
}

// backupKind is the kind of a job as a session carries it out.
func (r *coldRun) backupKind(s *session, step func(string) error) jobs.Kind {
	n := r.n
	executor, rows := coldExecutor{n.cold}, backup.AllRows{Cold: n.cold.store}
	switch r.job.GetType() {
	case applier.JobTypeCleanup:
		return jobs.Cleanup(n.catalog, executor)
	case applier.JobTypeBackup:
		return jobs.Backup(backup.Source{
			Storage: n.store, Catalog: n.catalog, Executor: executor, Rows: rows, Applied: multiraft.ReadApplied, Clock: s, Step: step, InTurn: true,
			Fenced: func() bool { return true },
		}, n.backupPlace)
	}
	return jobs.Restore(backup.Target{
		Storage: n.store, Catalog: n.catalog, Executor: executor, Rows: rows, Clock: s, Fenced: func() bool { return true }, Step: step, InTurn: true,
	}, n.backupPlace)
}

// orderBackups creates jobs that make backups.
func (c *clients) orderBackups(a *actor) {
	parameters, err := json.Marshal(applier.BackupParameters{Location: onDisk})
	if err != nil {
		c.w.fail("parameters: %v", err)
	}
	for ; c.busy; a.sleep(time.Duration(200+c.w.rng.IntN(600)) * stepTime) {
		a.request(func(s *session) {
			s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{
				Job: &commandv1.Job{Type: applier.JobTypeBackup, IdPrefix: "BK", Parameters: string(parameters), MaxRetries: 3},
			}}})
		})
	}
}

// judgeBackups wants every backup that a node has in its directory to be whole.
func (w *world) judgeBackups() {
	if !w.opt.backups {
		return
	}
	for _, n := range w.nodes {
		place, err := n.backupPlace(onDisk)
		if err != nil {
			w.fail("open the backups of node %d: %v", n.id, err)
		}
		for range w.verifyBackups(place) {
			w.saw(ruleBackups)
		}
	}
}

// order creates a job of backups and returns its number. It may be tried as often as a story ends it.
func (l *lab) order(kind, place string) uint64 {
	parameters, err := json.Marshal(applier.BackupParameters{Location: place})
	if err != nil {
		l.fail("parameters: %v", err)
	}
	number := uint64(0)
	l.do(l.nodes[0], func(s *session) {
		r := s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{
			Job: &commandv1.Job{Type: kind, IdPrefix: "BK", Parameters: string(parameters), MaxRetries: math.MaxUint32},
		}}})
		number = r.response.GetObjectId()
	})
	if number == 0 {
		l.fail("there is no job of type %s", kind)
	}
	return number
}

// carryOut runs a job on a node, once, as a part of its process; step is called between its steps, beside a heartbeat. The job ends only with
// the process, or when the run does.
func (l *lab) carryOut(n *simNode, number uint64, step func(*session, string) error) *actor {
	l.spawnAt(n, "backups", func(a *actor) {
		r := &coldRun{n: n, a: a}
		a.serve(n, func(s *session) {
			s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_ExpireClaims{ExpireClaims: &commandv1.ExpireClaims{}}})
			if !s.barrier(shard.Meta) {
				return
			}
			job, _, err := catalog.LoadJob(n.store, number)
			if err != nil || job == nil {
				l.fail("job %d: %v", number, err)
			}
			r.job = job
			r.claim(s)
			r.sleepy = false
		})
		if r.held == nil {
			n.fellInColdFile()
			return
		}
		a.serve(n, func(s *session) {
			r.s, s.deadline = s, l.clock.Now().Add(2*healBound)
			kind := r.backupKind(s, func(name string) error {
				if step != nil {
					return step(s, name)
				}
				return r.step(name)
			})
			r.err = s.guarded(func() error { return kind.Run(s, &jobs.Work{Job: r.job, Token: r.held.GetToken()}) })
		})
		l.trace.event("node %d ends its run of job %d: %v", n.id, number, firstLine(r.err))
		n.fellInColdFile()
		a.pause() // a node that has ended goes no further
		a.serve(n, r.report)
	})
	return l.actors[len(l.actors)-1]
}

// jobState is what a node knows of a job.
func (l *lab) jobState(n *simNode, number uint64) (*commandv1.Job, catalog.JobState) {
	job, _, err := catalog.LoadJob(n.store, number)
	if err != nil || job == nil {
		l.fail("job %d: %v", number, err)
	}
	return job, catalog.JobState(job.GetState())
}

// verifyBackups wants every backup of a place to be whole, and returns their names.
func (w *world) verifyBackups(store objstore.Store) []string {
	names, err := backup.List(context.Background(), store)
	if err != nil && !errors.Is(err, objstore.ErrNotFound) {
		w.fail("list backups: %v", err)
	}
	for _, name := range names {
		report, err := backup.Verify(context.Background(), store, name, func(uint32, string) {})
		if err != nil || len(report.Problems) > 0 {
			w.fail("backup %s is not whole: %v %+v", name, err, report)
		}
	}
	return names
}

// liveRows counts the rows that the log says there are.
func (w *world) liveRows() (count uint64) {
	for _, truth := range w.oracle.groups {
		if truth.model == nil {
			continue
		}
		for _, row := range truth.model.rows {
			if !row.deleted {
				count++
			}
		}
	}
	return count
}

// seen is what clients see of the tables of a world: those of SQL by query, the others as they are stored.
func (l *lab) seen() string {
	var text strings.Builder
	n := l.nodes[len(l.nodes)-1]
	l.do(n, func(s *session) {
		for _, user := range l.c.users {
			for _, name := range sqlTables {
				rows, err := s.sql(user, "SELECT id, tag, n FROM "+name+" ORDER BY id")
				if err != nil {
					l.fail("%s reads %s: %v", user, name, err)
				}
				for _, row := range rows {
					fmt.Fprintf(&text, "%s of %s: %v %v %v\n", name, user, row[0], row[1], row[2])
				}
			}
		}
	})
	for user := range len(l.c.users) + 1 {
		c := l.counter(user)
		row := l.get(n.store, c)
		fmt.Fprintf(&text, "%s of %q: %q deleted %v\n", c.key, c.user, row.value, row.deleted)
	}
	return text.String()
}
