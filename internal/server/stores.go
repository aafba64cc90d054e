package server

import (
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/pairlog"
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
	if n.log, err = n.openLog(); err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	return nil
}

// chooseLog lets a directory in which nothing was promised yet have the log that is configured. It can be repeated after a
// crash at any step.
func (n *Node) chooseLog() error {
	want := configuredLog(n.cfg)
	if n.identity.LogStore == want {
		return nil
	}
	if err := n.wipe(); err != nil {
		return err
	}
	n.identity.LogStore = want
	n.identity.Version = n.identity.format()
	return n.identity.save(n.fs, n.cfg.Storage.DataPath)
}

func (n *Node) openLog() (multiraft.OwnLog, error) {
	if n.identity.LogStore == config.LogPebble {
		log, err := pairlog.Open(n.pairConfig())
		if err != nil {
			return nil, err
		}
		return multiraft.LogOf(log), nil
	}
	log, err := raftlog.Open(n.logConfig())
	if err != nil {
		return nil, err
	}
	return multiraft.LogOf(log), nil
}

// pairReserveBytes is what the log of pairs wants to be free, if storage.min_free_bytes is four times as much at least: while writes are
// refused for lack of room, elections and deletions still have some.
const pairReserveBytes = 16 << 20

// pairConfig takes entries as large as the log of segments, which other nodes may have.
func (n *Node) pairConfig() pairlog.Config {
	c, reserve := n.logConfig(), int64(pairReserveBytes)
	if least := n.cfg.Storage.MinFreeBytes; least > 0 {
		reserve = max(min(reserve, least/4), 1)
	}
	return pairlog.Config{
		FS: n.storeFS, Dir: c.Dir, StoreID: c.StoreID, CacheBytes: c.CacheBytes, Existing: c.Existing, FreeBytes: n.freeBytes, ReserveBytes: reserve,
		MaxEntryBytes: min(raftlog.DefaultMaxEntryBytes, c.SegmentBytes/4), Logger: c.Logger, OnFatal: n.fail,
	}
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
