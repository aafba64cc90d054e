package multiraft

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/pairlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

type labNode struct {
	lab     *lab
	replica ident.ReplicaID
	fs      *vfs.MemFS
	store   *storage.Engine
	log     *raftlog.Log
	pairs   *pairlog.Log // instead of log, where the lab says so
	wire    *transport.Memory
	manager *Manager
	handler labHandler

	paused bool  // the process stands still; what is sent to it waits
	noRoom bool  // the log finds no room for another segment
	narrow bool  // nor does a snapshot
	hangs  bool  // as Config.DiskHangs tells
	free   int64 // bytes, as Config.FreeBytes tells
}

// logFS is the file system of the log.
func (n *labNode) logFS() disk.FS {
	return faultfs.Wrap(n.fs, func(op faultfs.Op) error {
		if n.noRoom && (op.Kind == faultfs.Create || op.Kind == faultfs.Write) && strings.HasSuffix(op.Path, ".tmp") {
			return syscall.ENOSPC
		}
		return nil
	})
}

// storeFS is the file system of the store.
func (n *labNode) storeFS() disk.FS {
	return faultfs.Wrap(n.fs, func(op faultfs.Op) error {
		if n.narrow && op.Kind == faultfs.Write && strings.Contains(op.Path, "staging") {
			return syscall.ENOSPC
		}
		return nil
	})
}

func (n *labNode) openStores() {
	l := n.lab
	l.t.Helper()
	var err error
	if n.store, err = storage.Open(storage.Options{FS: n.storeFS(), Dir: "store", MemTableBytes: 1 << 20, CacheBytes: 1 << 20}); err != nil {
		l.t.Fatal(err)
	}
	l.opened = append(l.opened, n.store)
	if l.overPairs {
		if n.pairs, err = pairlog.Open(pairlog.Config{FS: n.fs, Dir: "log"}); err != nil {
			l.t.Fatal(err)
		}
		return
	}
	if n.log, err = raftlog.Open(raftlog.Config{FS: n.logFS(), Dir: "log", SegmentBytes: 1 << 18, SpareSegments: 1}); err != nil {
		l.t.Fatal(err)
	}
}

// entries is the log, whichever it is.
func (n *labNode) entries() Log {
	if n.pairs != nil {
		return LogOf(n.pairs)
	}
	return LogOf(n.log)
}

func (n *labNode) closeLog() error {
	if n.pairs != nil {
		return n.pairs.Close()
	}
	return n.log.Close()
}

func (n *labNode) open() {
	l := n.lab
	l.t.Helper()
	n.handler = labHandler{n}
	wire, err := l.network.Node(transport.MemoryConfig{Address: address(n.replica), Resolver: l}, n.handler)
	if err != nil {
		l.t.Fatal(err)
	}
	wire.SetIdentity(transport.Identity{ClusterUID: l.uid, Replica: n.replica})
	n.wire = wire
	n.manager, err = Open(Config{
		Replica: n.replica, Groups: l.groups, Engine: n.store, Log: n.entries(), Clock: l.clock, Logger: slog.New(slog.DiscardHandler),
		StateMachines: n.newTally,
		StagingDir:    "staging", Members: func() []Member { return l.members },
		Packs:      func() bool { return l.packs },
		Workers:    l.workers,
		QuietTicks: l.quietTicks, MaxFollowerLag: l.followerLag, RetainEntries: l.retain, RetainBytes: 64 << 20, MaxFollowerBytes: l.followerBytes,
		SnapshotChunkBytes: l.snapshotChunk, SnapshotFileBytes: l.snapshotFile, VerifyInstalled: true,
		MinFreeBytes: l.minFree, FreeBytes: func() (int64, error) { return n.free, nil }, FreesSpace: addsNothing,
		DiskHangs: func() bool { return n.hangs },
	}, wire)
	if err != nil {
		l.t.Fatal(err)
	}
}

// newTally makes the state machine of a group; data groups wait for the meta group.
func (n *labNode) newTally(g shard.GroupID) StateMachine {
	m := &tally{group: g}
	if g != shard.Meta {
		m.metaIndex = func() uint64 { return n.manager.Applied(shard.Meta) }
	}
	return m
}

// crash loses everything that was not synced and takes the node off the network.
func (n *labNode) crash() {
	n.lab.t.Helper()
	crashed := n.fs.CrashClone(vfs.CrashCloneCfg{})
	n.halt()
	n.fs = crashed
}

func (n *labNode) halt() {
	n.checkRefused()
	n.wire.Stop(context.Background())
	n.manager.Stop()
	// A crash closes nothing; these only free memory, on the disk that is thrown away.
	_ = n.closeLog()
	_ = n.closeStore()
}

// checkRefused fails the test when sound peers were taken for hostile ones.
func (n *labNode) checkRefused() {
	if refused := n.manager.RefusedMessages(); refused > 0 && !n.lab.hostile {
		n.lab.t.Errorf("replica %d took %d messages of sound peers for nonsense", n.replica, refused)
	}
}

func (n *labNode) closeStore() error {
	n.lab.opened = slices.DeleteFunc(n.lab.opened, func(e *storage.Engine) bool { return e == n.store })
	return n.store.Close()
}

func (n *labNode) restart() {
	n.openStores()
	n.open()
}

// submit proposes without waiting.
func (n *labNode) submit(g shard.GroupID, id ident.RequestID, data []byte) (*waiter, error) {
	group := n.manager.groups[g]
	w, err := group.register(id, len(data), &n.manager.cfg)
	if err != nil {
		return nil, err
	}
	group.worker.enqueue(item{group: group, proposal: newProposal(id, data)})
	return w, nil
}

// read asks for a linearizable index without waiting.
func (n *labNode) read(g shard.GroupID) *readRequest {
	group := n.manager.groups[g]
	r := &readRequest{done: make(chan readIndex, 1)}
	group.worker.enqueue(item{group: group, read: r})
	return r
}
