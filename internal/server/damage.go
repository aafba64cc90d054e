package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// This file deals with wrong bytes in the log or the store. What a damaged directory has promised (votes, entries)
// cannot be known any more, so its replica never speaks again. In a cluster the node puts the files aside and joins
// once more, as a new replica with an empty directory that the others fill; it never founds a cluster in that state.
// The files are kept until every group is whole again. A node that runs alone has nobody to ask and does not start.

// ErrDamaged is how a node ends that has found wrong bytes and recorded it; opened again, it repairs itself.
var ErrDamaged = errors.New("the data directory is damaged; the node starts again as a new replica and fetches everything from the others")

const (
	// asidePrefix begins the names of directories with what was damaged; the rest is the store id.
	asidePrefix = "damaged-"
	// maxAside is how many of them there may be. A disk that damages one copy after the other is no place for another.
	maxAside = 2
	// groupDamaged is the state of a group here whose replica was damaged and is not whole again.
	groupDamaged = "damaged"
)

// damage is what was found.
type damage struct {
	Store       string `json:"store_id"` // of the damaged files
	Replica     uint64 `json:"replica_id"`
	Reason      string `json:"reason"`
	SinceMicros int64  `json:"since_micros"`
}

// isDamage reports whether an error is about wrong bytes on disk.
func isDamage(err error) bool {
	var log *raftlog.DamageError
	return errors.As(err, &log) || errors.Is(err, storage.ErrCorruption)
}

// noteDamage records, durably, that the directory must not be used any more, and wraps ErrDamaged around the error.
// An error of another kind, or one that nobody can repair, comes back as it is.
func (n *Node) noteDamage(err error) error {
	id := n.who()
	switch {
	case !isDamage(err) || errors.Is(err, ErrDamaged):
		return err
	case id.State == stateDamaged:
		return fmt.Errorf("%w: %w", ErrDamaged, err) // another read has found it too
	case id.State != stateMember:
		return err
	}
	n.logger.Error("wrong bytes were found on disk", slog.Any("error", err))
	if id.ClusterID == "" {
		return fmt.Errorf("%w; this node runs alone, so nobody can repair it: nothing was changed, see docs/ops/damage.md", err)
	}
	// What is known of the others may be all there is to find them by.
	for _, m := range liveMembers(n.catalog.Current()) {
		if m.Replica != id.Replica {
			id.Members = slices.DeleteFunc(slices.Clone(id.Members), func(k knownMember) bool { return k.Replica == m.Replica })
			id.Members = append(id.Members, knownMember{Replica: m.Replica, Node: m.Node, RPCAddr: m.RPCAddr, APIAddr: m.APIAddr})
		}
	}
	if c := n.cfg.Cluster; len(id.knownPeers(nil)) == 0 && len(c.Others()) == 0 && !c.Join.Wanted && len(c.Join.Addresses) == 0 {
		return fmt.Errorf("%w; no other node is known that could repair it: nothing was changed, see docs/ops/damage.md", err)
	}
	id.State = stateDamaged
	id.Damage = &damage{
		Store: id.Store.String(), Replica: uint64(id.Replica), Reason: err.Error(), SinceMicros: n.clock.Now().UnixMicro(),
	}
	if failed := n.become(id); failed != nil {
		// The bytes are wrong still at the next start, and found again.
		return errors.Join(err, fmt.Errorf("the damage could not be recorded: %w", failed))
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// putAside moves the damaged files out of the way and makes the directory that of a new store, which is to join the
// same cluster. It can be repeated after a crash at any step.
func (n *Node) putAside() error {
	dir, id := n.cfg.Storage.DataPath, n.identity
	aside := filepath.Join(dir, asidePrefix+id.Damage.Store)
	others, err := n.asides()
	if err != nil {
		return err
	}
	if others = slices.DeleteFunc(others, func(path string) bool { return path == aside }); len(others) >= maxAside {
		return fmt.Errorf("%s: damage was found again (%s) while %d damaged copies are kept; the disk is not to be trusted. "+
			"Replace it, or remove the directories %s* to try once more", dir, id.Damage.Reason, len(others), asidePrefix)
	}
	if err := n.fs.MkdirAll(aside, 0o750); err != nil {
		return fmt.Errorf("put damaged files aside: %w", err)
	}
	for _, name := range []string{"log", "store"} {
		from, to := filepath.Join(dir, name), filepath.Join(aside, name)
		if _, err := n.fs.Stat(from); errors.Is(err, fs.ErrNotExist) {
			continue // moved before a crash
		}
		if err := n.fs.Rename(from, to); err != nil {
			return fmt.Errorf("put damaged files aside: %w", err)
		}
	}
	if err := n.fs.RemoveAll(filepath.Join(dir, "staging")); err != nil {
		return fmt.Errorf("put damaged files aside: %w", err)
	}
	if err := errors.Join(disk.SyncDir(n.fs, aside), disk.SyncDir(n.fs, dir)); err != nil {
		return fmt.Errorf("put damaged files aside: %w", err)
	}
	id.State, id.Replica = stateRepairing, 0
	if _, err := io.ReadFull(n.random, id.Store[:]); err != nil {
		return fmt.Errorf("draw a store id: %w", err)
	}
	n.logger.Warn("damaged files were put aside; the node joins as a new replica",
		slog.String("directory", aside), slog.String("damage", id.Damage.Reason))
	return n.become(id)
}

// asides lists the directories with damaged files.
func (n *Node) asides() ([]string, error) {
	names, err := n.fs.List(n.cfg.Storage.DataPath)
	if err != nil {
		return nil, fmt.Errorf("look into %s: %w", n.cfg.Storage.DataPath, err)
	}
	var paths []string
	for _, name := range names {
		if strings.HasPrefix(name, asidePrefix) {
			paths = append(paths, filepath.Join(n.cfg.Storage.DataPath, name))
		}
	}
	return paths, nil
}

// finishRepair forgets the damage once this replica votes and is up to date in every group: then what was put aside
// exists as often as it should, and is removed.
func (n *Node) finishRepair(ctx context.Context) {
	id, manager := n.who(), n.engine()
	if id.Damage == nil || id.State != stateMember || manager == nil {
		return
	}
	bound, cancel := context.WithTimeout(ctx, housePeriod)
	defer cancel()
	if level, err := manager.Level(bound); err != nil || !level {
		return
	}
	paths, err := n.asides()
	for _, path := range paths {
		err = errors.Join(err, n.fs.RemoveAll(path))
	}
	if err != nil {
		n.logger.Warn("damaged files could not be removed; it is tried again", slog.Any("error", err))
		return
	}
	reason := id.Damage.Reason
	id.Damage = nil
	if err := n.become(id); err != nil {
		n.logger.Warn("the end of the repair could not be recorded; it is tried again", slog.Any("error", err))
		return
	}
	n.logger.Info("the node is repaired: every group was fetched from the others", slog.String("damage", reason))
}

// seen shows the groups of a replica under repair as damaged until it votes in them.
func (id identity) seen(statuses []multiraft.GroupStatus) []multiraft.GroupStatus {
	if id.Damage == nil {
		return statuses
	}
	for i := range statuses {
		if s := &statuses[i]; s.State == "learner" || s.State == "outside" {
			s.State = groupDamaged
		}
	}
	return statuses
}

// knownPeers are the other members that this directory remembers, but those in among.
func (id identity) knownPeers(among []config.Peer) []config.Peer {
	var peers []config.Peer
	for _, m := range id.Members {
		same := func(p config.Peer) bool { return p.RPCAddr == m.RPCAddr || ident.NodeID(p.NodeID) == m.Node }
		if m.Node != id.Node && m.RPCAddr != "" && !slices.ContainsFunc(among, same) {
			peers = append(peers, config.Peer{NodeID: uint64(m.Node), RPCAddr: m.RPCAddr, APIAddr: m.APIAddr})
		}
	}
	return peers
}
