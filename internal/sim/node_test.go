package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// simNode is one server process and its disk.
type simNode struct {
	refused uint64 // messages of peers that were taken for nonsense, in all lives
	w       *world
	id      ident.NodeID
	disk    *simDisk

	life   int  // counts starts of the process
	up     bool // the process runs
	paused bool // the process runs and gets no time
	torn   string
	offset time.Duration // of its wall clock
	lag    int           // one of this many ticks is lost; zero loses none

	draining bool          // an operator said so
	handles  *handles      // of its files, in this life
	unclosed int           // iterators and views that its store had when it was closed
	watched  *disk.Watched // knows whether the disk answers
	storeFS  *disk.Waiting // lets the store wait for room
	room     *roomClock
	closing  error      // what log and store said when they were closed, for instance of views that nobody has closed
	flushing chan error // the log's maintenance, while its flush waits for room
	lostAt   int        // step at which its disk was last lost, zero for never
	joinedAt int        // step at which it was last made a member
	stall    *stall     // the engine's pump, while it waits for the disk; nil else
	standing *standing  // what the engine applies, while it waits for the store; nil else
	flipped  bool       // a bit of its disk is wrong, or harmless, and was not judged yet

	self     whoami
	store    *storage.Engine
	sql      *exec.Engine // made when the first statement comes
	log      multiraft.OwnLog
	wire     *transport.Memory
	catalog  *catalog.Store
	manager  engine          // nil until the node is a member
	local    *multiraft.Solo // the group of its own rows; nil until that is open, and in runs without
	live     *livePart
	cold     *coldPart
	machines map[shard.GroupID]*machine
	heard    map[ident.ReplicaID]string // addresses that peers told
	looked   []multiraft.Standing       // of this life by group, when somebody looked
	looks    []multiraft.Standing       // the same, at this look; used again
	firsts   []uint64                   // first indexes of the logs of this life by group, when they were maintained
}

// whoami is the identity file of a data directory.
type whoami struct {
	Store   ident.StoreID   `json:"store"`
	Replica ident.ReplicaID `json:"replica"` // zero until it is a member
	Members []knownMember   `json:"members"` // told at joining
}

type knownMember struct {
	Replica ident.ReplicaID `json:"replica"`
	Address string          `json:"address"`
}

func address(id ident.NodeID) string { return fmt.Sprintf("node-%d", id) }

// Now implements clock.Clock with the node's own idea of the time.
func (n *simNode) Now() time.Time { return n.w.clock.Now().Add(n.offset) }

// NewTimer implements clock.Clock; the engine asks for timers only when it runs on goroutines.
func (n *simNode) NewTimer(d time.Duration) clock.Timer { return n.w.clock.NewTimer(d) }

// Address implements transport.Resolver as a server does: the catalog first, then what peers say, then what was
// told at joining.
func (n *simNode) Address(replica ident.ReplicaID) (string, bool) {
	if m, ok := n.catalog.Current().Member(replica); ok {
		return m.RPCAddr, m.RPCAddr != ""
	}
	if addr, ok := n.heard[replica]; ok {
		return addr, true
	}
	for _, m := range n.self.Members {
		if m.Replica == replica {
			return m.Address, true
		}
	}
	return "", false
}

// members is the reconciler's view of the catalog.
func (n *simNode) members() []multiraft.Member {
	stored := n.catalog.Current().Members()
	members := make([]multiraft.Member, len(stored))
	for i, m := range stored {
		members[i] = multiraft.Member{Replica: m.Replica, Node: m.Node, Replaces: m.Replaces, Removed: m.Removed, Observes: m.Observes}
	}
	return members
}

// start begins a life of the process. An error means that it does not come up.
func (n *simNode) start() error {
	w := n.w
	n.life++
	n.up, n.paused, n.torn = true, false, ""
	n.catalog, n.manager, n.local, n.store, n.log = catalog.NewStore(), nil, nil, nil, nil
	n.live, n.looked, n.firsts = newLivePart(n), nil, nil
	n.machines, n.heard = make(map[shard.GroupID]*machine), make(map[ident.ReplicaID]string)
	if err := n.loadIdentity(); err != nil {
		return err
	}
	wire, err := w.network.Node(transport.MemoryConfig{Address: address(n.id), Resolver: n}, handler{n, n.life})
	if err != nil {
		return err
	}
	n.wire = wire
	w.trace.event("node %d starts, life %d, replica %d", n.id, n.life, n.self.Replica)
	if n.self.Replica == 0 {
		w.spawnAt(n, "join", join)
		return nil
	}
	return n.openEngine()
}

func (n *simNode) openStores() error {
	fs := n.disk.fs()
	var err error
	n.room = newRoomClock(n.disk)
	n.storeFS, n.cold = disk.WaitForRoom(fs, n.room), newColdPart(n, fs)
	n.store, err = storage.Open(storage.Options{FS: n.storeFS, Dir: storeDir, MemTableBytes: 64 << 20, CacheBytes: 1 << 20})
	if err != nil {
		return err
	}
	n.log, err = n.openLog(fs)
	if err == nil && n.flipped {
		if err = readAll(n.store); err == nil {
			n.flipped = false // nothing was found by reading everything: the bit is one that nobody needs
		}
	}
	return err
}

func (n *simNode) openLog(fs disk.FS) (multiraft.OwnLog, error) {
	if n.w.opt.pairs {
		return n.openPairs(fs)
	}
	log, err := raftlog.Open(raftlog.Config{
		FS: fs, Dir: logDir, StoreID: n.self.Store, SegmentBytes: n.w.opt.segmentBytes, SpareSegments: 1, CacheBytes: n.w.opt.cacheBytes,
	})
	if err != nil {
		return nil, err
	}
	return multiraft.LogOf(log), nil
}

// openEngine makes a member of the process.
func (n *simNode) openEngine() error {
	w := n.w
	if n.store == nil {
		if err := n.openStores(); err != nil {
			return err
		}
	}
	if err := w.mutant.beforeOpen(n); err != nil {
		return err
	}
	manager, err := n.openManager(multiraft.Config{
		Replica: n.self.Replica, Groups: w.groups, Engine: n.store, Log: n.log, Clock: n, Logger: w.logger(n),
		StateMachines: n.newMachine, StagingDir: stagingDir, Members: n.members,
		RetainEntries: w.opt.retain, RetainBytes: 1 << 20, NoBalance: w.opt.noBalance, Workers: w.opt.workers,
		QuietTicks: quietTicks, LogWrites: w.opt.logWrites,
		Packs:        func() bool { return w.opt.packs >= 0 && w.step >= w.opt.packs },
		MinFreeBytes: minFree, FreeBytes: n.disk.free, FreesSpace: command.FreesSpace,
		SnapshotChunkBytes: w.opt.chunkBytes, SnapshotFileBytes: uint64(w.opt.chunkBytes) * 4,
	})
	if err != nil {
		return err
	}
	n.manager = manager
	w.spreadOrders()
	n.wire.SetIdentity(transport.Identity{ClusterUID: w.uid, Replica: n.self.Replica})
	w.oracle.opened(n)
	w.spawnAt(n, "announce", announce)
	if !w.opt.noJanitor {
		w.spawnAt(n, "chores", chores)
	}
	w.spawnAt(n, "hand", hand)
	n.cold.begin()
	if !w.mutant.noGossip {
		w.spawnAt(n, "gossip", gossip)
	}
	return nil
}

func (n *simNode) newMachine(group shard.GroupID) multiraft.StateMachine {
	inner, err := n.w.mutant.newMachine(n, group)
	if err != nil {
		panic(err)
	}
	m := &machine{n: n, life: n.life, group: group, inner: inner}
	n.machines[group] = m
	return m
}

func realMachine(n *simNode, group shard.GroupID) (statemachine.Machine, error) {
	return statemachine.NewWith(group, n.catalog, statemachine.Options{Publisher: n.live.publisher})
}

// stop ends the process. Everything it wrote stays, synced or not, as the operating system keeps it.
func (n *simNode) stop(why string) {
	if n.disk.lost != nil {
		n.crash(why) // what the operating system still shows after a failed sync is no promise
		return
	}
	n.w.trace.event("node %d stops: %s", n.id, why)
	n.close()
}

// crash ends process and machine: only what was synced stays.
func (n *simNode) crash(why string) {
	n.w.trace.event("node %d crashes: %s", n.id, why)
	if err := n.disk.powerCut(n.torn); err != nil {
		n.w.fail("power cut of node %d: %v", n.id, err)
	}
	n.close()
	n.disk.replace()
}

func (n *simNode) close() {
	n.unwind()
	n.up, n.paused = false, false
	n.life++
	if n.live != nil {
		n.live.close()
	}
	if n.wire != nil {
		n.wire.Stop(context.Background())
	}
	if n.local != nil {
		n.local.Stop()
	}
	if n.manager != nil {
		n.countRefused()
		n.manager.Stop()
	}
	n.cold.close()
	if n.sql != nil {
		n.sql.Close() // as a server does: transactions have views of the store
	}
	// These only free memory where the disk is thrown away; where it stays, what they write is not needed.
	n.closing = nil
	if n.log != nil {
		n.closing = n.log.Close()
	}
	if n.store != nil {
		if n.unclosed = n.store.Open(); n.unclosed != 0 {
			n.w.noteOpen(n)
			n.closing = errors.Join(n.closing, n.store.CloseLeft())
		}
		n.closing = errors.Join(n.closing, n.store.Close())
	}
	n.manager, n.local, n.store, n.log, n.wire, n.storeFS, n.sql = nil, nil, nil, nil, nil, nil, nil
}

// countRefused adds up what this node refused to hear from its peers.
func (n *simNode) countRefused() {
	if m, ok := n.manager.(*multiraft.Manager); ok {
		n.refused += m.RefusedMessages()
	}
}

// wipe throws the disk away.
func (n *simNode) wipe() {
	n.w.trace.event("node %d loses its disk", n.id)
	n.w.oracle.wiped(n.self.Replica)
	n.flipped, n.lostAt = false, n.w.step
	n.disk = newDisk(n)
	n.self = n.w.mutant.emptyDisk(n)
}

// pump moves the engine; a failure ends the process.
func (n *simNode) pump() {
	if !n.up || n.paused || n.manager == nil {
		return
	}
	if err := n.drive(); err != nil {
		n.died(err)
		return
	}
	n.live.step()
}

// died judges why the engine failed: only an injected fault may do that.
func (n *simNode) died(err error) {
	switch {
	case n.disk.crashed != nil || n.torn != "":
		n.crash("power")
	case (n.disk.broken || n.disk.lost != nil || n.disk.unread) && errors.Is(err, errDisk):
		// What the disk holds after a failed write or sync is unknown; the worst is that it holds what was synced.
		n.crash("its disk is broken: " + err.Error())
	case n.flipped && isDamage(err):
		n.foundDamage(err)
	default:
		n.w.fail("node %d fails without a reason: %v", n.id, err)
	}
}

// look checks what can be checked whenever a node is at rest: who says that it leads, which messages show, too, and what is
// applied. What has not changed since it was looked at could only fail by a change elsewhere, which is looked at there.
func (n *simNode) look() {
	every := n.w.step%(stepsPerTick*maintainTick) == 0
	if n.looked == nil {
		n.looked = make([]multiraft.Standing, len(n.w.groups))
	}
	n.looks = n.manager.Standings(n.looks[:0])
	for i, now := range n.looks {
		before := n.looked[i]
		if !every && now == before {
			continue
		}
		g := n.w.groups[i]
		if now.Leading || n.manager.Leader(g) == n.self.Replica {
			n.w.oracle.glance(n, g)
		}
		switch {
		case now.Applied < before.Applied:
			n.w.fail("the applied index of %s at node %d falls from %d to %d", g, n.id, before.Applied, now.Applied)
		case now.Applied > before.Applied:
			n.w.saw(ruleApplied)
		}
		n.looked[i] = now
	}
}

func (n *simNode) loadIdentity() error {
	n.self = whoami{}
	f, err := n.disk.base.Open(identity)
	if errors.Is(err, os.ErrNotExist) {
		for i := range n.self.Store {
			n.self.Store[i] = byte(n.w.rng.Uint32())
		}
		return n.saveIdentity()
	}
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return json.Unmarshal(raw, &n.self)
}

func (n *simNode) saveIdentity() error {
	raw, err := json.Marshal(n.self)
	if err != nil {
		return err
	}
	return disk.WriteFileAtomic(n.disk.base, identity, raw)
}

func (w *world) logger(n *simNode) *slog.Logger {
	if w.trace.print == nil || !w.opt.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With(slog.Uint64("node", uint64(n.id)))
}
