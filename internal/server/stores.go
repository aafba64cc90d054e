package server

import (
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// This file opens what a node keeps on its disk, with the memory that its settings allow.

func (n *Node) openStores() (err error) {
	n.storeFS = disk.WaitForRoom(n.fs, n.clock)
	if n.store, err = storage.Open(n.storeOptions()); err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	if n.log, err = raftlog.Open(n.logConfig()); err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	return nil
}

func (n *Node) storeOptions() storage.Options {
	return storage.Options{
		FS: n.storeFS, Dir: filepath.Join(n.cfg.Storage.DataPath, "store"), CacheBytes: n.cfg.Storage.BlockCacheBytes,
		Logger: n.logger.With(slog.String("part", "store")), OnFatal: n.fail,
	}
}

func (n *Node) logConfig() raftlog.Config {
	cache := n.cfg.Raft.LogCacheBytes
	if cache == 0 {
		cache = -1 // none
	}
	return raftlog.Config{
		FS: n.fs, Dir: filepath.Join(n.cfg.Storage.DataPath, "log"), StoreID: n.identity.Store, CacheBytes: cache,
		Existing:     n.identity.State == stateMember, // which it became when it had a log
		SegmentBytes: n.cfg.Raft.LogSegmentBytes, PageCache: n.cfg.Raft.LogPageCache, Background: true,
		Logger: n.logger.With(slog.String("part", "log")),
	}
}

func (n *Node) sqlLimits() exec.Limits {
	limits := n.cfg.Limits
	return exec.Limits{
		DefaultRows: int64(limits.DefaultQueryLimit), MaxRows: int64(limits.MaxQueryLimit),
		QueryMemoryBytes: limits.QueryMemoryBytes, NodeMemoryBytes: limits.NodeMemoryBytes, PlanCacheEntries: limits.PlanCacheEntries,
	}
}
