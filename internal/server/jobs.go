package server

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/backup"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/jobs"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

// jobParts is the node's runner of jobs and the means to stop it before the store closes.
type jobParts struct {
	runner *jobs.Runner
	cancel context.CancelFunc
	done   chan struct{} // closed when the runner has stopped
}

// buildJobs makes the runner. Every kind of job has one line here.
func (n *Node) buildJobs(engine *exec.Engine) {
	source, target := n.backupParts()
	kinds := []jobs.Kind{
		jobs.Backup(source, n.backupPlace),
		jobs.Restore(target, n.backupPlace),
		jobs.UserCleanup(n.catalog, n.store, n.exec, n.cold, n.fileDropper(), n.fencesJobs),
		jobs.UserExport(n.exportSource(), n.exports),
		jobs.Cleanup(n.catalog, n.exec),
		jobs.JobCleanup(n.clock, n.exec),
		jobs.SchemaChange(n.schemaChanger()),
		jobs.Flush(n.flusher()),
		jobs.Compact(n.flusher()),
		jobs.Retention(n.catalog, n.store, n.exec, n.cold, n.clock, n.clocksAgree),
		jobs.StreamEviction(n.catalog, n.store, n.exec, n.clock),
		jobs.Statement(n.catalog, func(ctx context.Context, caller session.Session, sql string) error {
			_, err := engine.Execute(ctx, exec.Request{Session: caller, SQL: sql})
			return err
		}),
	}
	// A claim outlives a few elections, so that a change of leaders does not move work.
	_, election := n.cfg.Cluster.ElectionTimeout()
	n.jobs = &jobParts{done: make(chan struct{}), cancel: func() {}}
	n.jobs.runner = jobs.New(jobs.Config{
		Executor: n.exec, Store: n.store, Catalog: n.catalog, Clock: n.clock,
		Logger: n.logger.With(slog.String("part", "jobs")),
		Node: func() ident.NodeID {
			if n.self() == 0 {
				return 0
			}
			return ident.NodeID(n.cfg.Cluster.NodeID)
		},
		Leadership: n.metaLeadership, Kinds: kinds,
		Hold: min(max(10*election, 5*time.Second), 30*time.Second), ByHand: n.jobsByHand,
	})
}

// backupParts are what backups are made from and restored to.
func (n *Node) backupParts() (backup.Source, backup.Target) {
	rows := backup.AllRows{Cold: n.cold}
	source := backup.Source{
		Storage: n.store, Catalog: n.catalog, Executor: n.exec, Rows: rows, Applied: multiraft.ReadApplied, Clock: n.clock,
		Fenced: n.fencesJobs,
	}
	return source, backup.Target{
		Storage: n.store, Catalog: n.catalog, Executor: n.exec, Rows: rows, Clock: n.clock, Fenced: n.fencesRestores,
		LargestCommand: multiraft.LargestCommand(n.log),
	}
}

// backupPlace opens where backups lie: a directory, or a storage with a prefix behind its name.
func (n *Node) backupPlace(location string) (objstore.Store, error) {
	if strings.HasPrefix(location, "/") {
		return objstore.OpenDir(n.fs.FS, location)
	}
	id, prefix, _ := strings.Cut(location, "/")
	storage, exists := n.catalog.Current().Storage(id)
	if !exists {
		return nil, fault.New(fault.NotFound, "storage '%s' not found", id)
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		if err := objstore.CheckKey(prefix); err != nil {
			return nil, err
		}
	}
	store, err := n.storages.Open(storage)
	if err != nil {
		return nil, err
	}
	return objstore.Under(store, prefix), nil
}

// metaLeadership says who leads the meta group as far as this node knows. A standalone node always does.
func (n *Node) metaLeadership() jobs.Leadership {
	if n.cfg.Standalone() {
		return jobs.Leadership{Term: 1, Leading: n.catalog.Current().Cluster() != nil}
	}
	m := n.engine()
	if m == nil {
		return jobs.Leadership{}
	}
	term := m.Term(shard.Meta)
	leading := m.Leader(shard.Meta) == m.Self()
	// A term that changed in between makes the answer one about two terms.
	return jobs.Leadership{Term: term, Leading: leading && m.Term(shard.Meta) == term}
}

// startJobs runs jobs until stopJobs.
func (n *Node) startJobs(ctx context.Context) {
	ctx, n.jobs.cancel = context.WithCancel(ctx)
	n.spawn(func() {
		defer close(n.jobs.done)
		n.jobs.runner.Run(ctx)
	})
}

// stopJobs gives running jobs back and returns when the runner touches the store no more.
func (n *Node) stopJobs() {
	if n.jobs == nil {
		return
	}
	n.jobs.cancel()
	<-n.jobs.done
}
