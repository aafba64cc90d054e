package server

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// identityFile is the name of the file that says who a data directory is. Its form is one line: the CRC-32C
// of the JSON in eight hexadecimal digits, a space, the JSON.
const identityFile = "node.id"

// dataFormat is what this program makes of a data directory: it goes up with every format below the directory, of the log,
// of keys or of commands, that the program before cannot read, and with it programs before refuse the directory. The
// numbers so far: 1; 2 may have STREAM tables that belong to one node, and several proposals in one entry of the log;
// 3 may remember from which ordinal a restored group numbers its rows; 4 may have commands that name a format of logs;
// 5 may have segments that are not named by that format.
const dataFormat = 5

// pairsFormat is dataFormat where the log is kept in a store of pairs, which programs before would take for a lost one.
const pairsFormat = 6

// States of a data directory.
const (
	stateFresh    = "fresh"    // belongs to no cluster yet
	stateFounding = "founding" // its first state is being written
	stateMember   = "member"
	stateRemoved  = "removed" // was a member, and may not be one again

	stateDamaged   = "damaged"   // a member whose files hold wrong bytes; nothing in it is used any more
	stateRepairing = "repairing" // empty, to join the cluster of the damaged replica as a new one
)

// identity is who a data directory is.
type identity struct {
	Version   int    // data format, at least that of every byte in the directory
	Program   string // version of the program that raised the format to this
	State     string
	Store     ident.StoreID
	Node      ident.NodeID
	ClusterID string // configured name; "" for a standalone node
	Cluster   ident.ClusterUID
	Replica   ident.ReplicaID
	Shards    shard.Map
	Window    uint64        // entries for which requests are remembered; zero is the default, as in directories without it
	Members   []knownMember // addresses learned when joining, until the catalog arrives
	Damage    *damage       // what was found here, until every group is repaired
	LogStore  string        // what the log is kept in, as raft.log_store has it; "" is segments
	Invited   invitation    // of a directory that belongs to no cluster yet
}

// knownMember is one address that a joining node was told.
type knownMember struct {
	Replica ident.ReplicaID `json:"replica_id"`
	Node    ident.NodeID    `json:"node_id"`
	RPCAddr string          `json:"rpc_addr"`
	APIAddr string          `json:"api_addr"`
}

// invitation is what members that invited this node have said.
type invitation struct {
	Addresses []string `json:"addresses,omitempty"` // of these members, the newest last
	VotesIn   []uint64 `json:"votes_in,omitempty"`  // groups, as the newest of them says; none is all
}

// identityJSON is the stored form: identifiers as text.
type identityJSON struct {
	Version      int           `json:"version"`
	Program      string        `json:"program,omitempty"`
	State        string        `json:"state"`
	Store        string        `json:"store_id"`
	Node         ident.NodeID  `json:"node_id"`
	ClusterID    string        `json:"cluster_id"`
	Cluster      string        `json:"cluster_uid,omitempty"`
	Replica      uint64        `json:"replica_id,omitempty"`
	UserShards   uint32        `json:"user_shards,omitempty"`
	SharedShards uint32        `json:"shared_shards,omitempty"`
	Window       uint64        `json:"request_window,omitempty"`
	Members      []knownMember `json:"members,omitempty"`
	Damage       *damage       `json:"damage,omitempty"`
	LogStore     string        `json:"log_store,omitempty"`
	Invited      *invitation   `json:"invited,omitempty"`
}

// loadIdentity reads the directory's identity, or draws a new store id for an empty directory. A directory
// that holds data but no identity is refused: its replica must not vote under a new name by accident.
func loadIdentity(fsys disk.FS, dir string, random io.Reader) (identity, error) {
	path := filepath.Join(dir, identityFile)
	raw, err := readFile(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return newIdentity(fsys, dir, random)
	}
	if err != nil {
		return identity{}, err
	}
	id, err := parseIdentity(raw)
	if err != nil {
		return identity{}, fmt.Errorf("%s: %w", path, err)
	}
	return id, nil
}

func newIdentity(fsys disk.FS, dir string, random io.Reader) (identity, error) {
	for _, name := range []string{"log", "store"} {
		entries, err := fsys.List(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return identity{}, fmt.Errorf("look into %s: %w", dir, err)
		}
		if len(entries) > 0 {
			return identity{}, fmt.Errorf("%s holds data, but %s is missing: restore that file, or empty the "+
				"directory to let the node join as a new replica", dir, identityFile)
		}
	}
	id := identity{Version: dataFormat, State: stateFresh}
	if _, err := io.ReadFull(random, id.Store[:]); err != nil {
		return identity{}, fmt.Errorf("draw a store id: %w", err)
	}
	return id, id.save(fsys, dir)
}

// save replaces the identity file, durably.
func (id identity) save(fsys disk.FS, dir string) error {
	stored := identityJSON{
		Version: id.Version, Program: id.Program, State: id.State, Store: id.Store.String(), Node: id.Node, ClusterID: id.ClusterID,
		Replica: uint64(id.Replica), UserShards: id.Shards.UserShards, SharedShards: id.Shards.SharedShards,
		Window: id.Window, Members: id.Members, Damage: id.Damage, LogStore: id.LogStore,
	}
	if len(id.Invited.Addresses) > 0 {
		stored.Invited = &id.Invited
	}
	if !id.Cluster.IsZero() {
		stored.Cluster = id.Cluster.String()
	}
	body, err := json.Marshal(stored)
	if err != nil {
		return fmt.Errorf("encode %s: %w", identityFile, err)
	}
	line := fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)), body)
	return disk.WriteFileAtomic(fsys, filepath.Join(dir, identityFile), line)
}

func parseIdentity(raw []byte) (identity, error) { return parseIdentityUpTo(raw, pairsFormat) }

// parseIdentityUpTo is parseIdentity of a program that reads formats up to newest.
func parseIdentityUpTo(raw []byte, newest int) (identity, error) {
	sum, body, found := strings.Cut(strings.TrimSuffix(string(raw), "\n"), " ")
	want := fmt.Sprintf("%08x", crc32.Checksum([]byte(body), crc32.MakeTable(crc32.Castagnoli)))
	if !found || sum != want {
		return identity{}, errors.New("the checksum does not match; the file is damaged")
	}
	var stored identityJSON
	if err := json.Unmarshal([]byte(body), &stored); err != nil {
		return identity{}, fmt.Errorf("decode: %w", err)
	}
	if stored.Version > newest {
		return identity{}, fmt.Errorf("%w: its format is %d, this program reads up to %d; start version %s or a newer one, or put a copy "+
			"of the directory from before the upgrade in its place", errNewerData, stored.Version, newest, cmp.Or(stored.Program, "(unnamed)"))
	}
	if stored.Version < 1 {
		return identity{}, fmt.Errorf("format %d is not known to this program", stored.Version)
	}
	id := identity{
		Version: stored.Version, Program: stored.Program, State: stored.State, Node: stored.Node, ClusterID: stored.ClusterID,
		Replica: ident.ReplicaID(stored.Replica), Members: stored.Members,
		Damage: stored.Damage, Window: stored.Window, LogStore: stored.LogStore,
		Shards: shard.Map{UserShards: stored.UserShards, SharedShards: stored.SharedShards},
	}
	store, err := ident.ParseID16(stored.Store)
	if err != nil {
		return identity{}, err
	}
	id.Store = store
	if stored.Invited != nil && len(stored.Invited.Addresses) > 0 {
		id.Invited = *stored.Invited
	}
	if stored.Cluster != "" {
		cluster, err := ident.ParseID16(stored.Cluster)
		if err != nil {
			return identity{}, err
		}
		id.Cluster = cluster
	}
	return id, nil
}

// errNewerData refuses a data directory that a newer program has written.
var errNewerData = errors.New("the data directory was written by a newer program")

// raise gives the directory of an older program the format of this one, before anything is written in it.
func (id *identity) raise(fsys disk.FS, dir, program string) error {
	if id.Version == id.format() && (id.Program != "" || program == "") {
		return nil
	}
	id.Version, id.Program = id.format(), program
	return id.save(fsys, dir)
}

// format is what this program makes of the directory.
func (id identity) format() int {
	if id.LogStore == config.LogPebble {
		return pairsFormat
	}
	return dataFormat
}

// check refuses a configuration that contradicts what the directory is.
func (id identity) check(cfg *config.Config) error {
	switch id.State {
	case stateMember, stateDamaged, stateRepairing:
	case stateRemoved:
		return fmt.Errorf("%s: %w", cfg.Storage.DataPath, errRemoved)
	default:
		return nil
	}
	c := cfg.Cluster
	switch {
	case uint64(id.Node) != c.NodeID:
		return fmt.Errorf("cluster.node_id = %d: this data directory belongs to node %d; want %d, or another storage.data_path",
			c.NodeID, id.Node, id.Node)
	case id.ClusterID != "" && c.ClusterID != "" && id.ClusterID != c.ClusterID:
		return fmt.Errorf("cluster.cluster_id = %q: this data directory belongs to cluster %q", c.ClusterID, id.ClusterID)
	case id.ClusterID != "" && c.ClusterID == "":
		return fmt.Errorf("cluster.cluster_id is empty: this data directory belongs to cluster %q and cannot run standalone",
			id.ClusterID)
	}
	if have := configuredShards(cfg); have != id.Shards {
		return fmt.Errorf("cluster.user_shards = %d, cluster.shared_shards = %d: this data directory was founded with "+
			"%d and %d; the division into shards cannot be changed", have.UserShards, have.SharedShards,
			id.Shards.UserShards, id.Shards.SharedShards)
	}
	if have := configuredWindow(cfg); have != id.Window {
		return fmt.Errorf("cluster.request_window = %d: this data directory was founded with %d; all replicas must forget requests at "+
			"the same entry, so it cannot be changed", cfg.Cluster.RequestWindow, statemachine.RequestWindow(id.Window))
	}
	if id.State == stateMember && configuredLog(cfg) != id.LogStore {
		return fmt.Errorf("raft.log_store = %q: the log in this data directory is kept in %s, and is not converted; want %[2]s. To change it, "+
			"empty %s: a member of a cluster fetches everything from the others then (docs/ops/lose-a-node.md), one node at a time; "+
			"a standalone node restores a backup (docs/ops/backup.md)",
			cfg.Raft.LogStore, cmp.Or(id.LogStore, config.LogSegments), cfg.Storage.DataPath)
	}
	return nil
}

// configuredLog is raft.log_store as it is stored: empty for the default.
func configuredLog(cfg *config.Config) string {
	if cfg.Raft.LogStore == config.LogSegments {
		return ""
	}
	return cfg.Raft.LogStore
}

// configuredWindow is the configured window of requests as it is stored: zero for the default.
func configuredWindow(cfg *config.Config) uint64 {
	if cfg.Cluster.RequestWindow == statemachine.RequestWindow(0) {
		return 0
	}
	return cfg.Cluster.RequestWindow
}

func configuredShards(cfg *config.Config) shard.Map {
	return shard.Map{UserShards: uint32(cfg.Cluster.UserShards), SharedShards: uint32(cfg.Cluster.SharedShards)}
}

func readFile(fsys disk.FS, path string) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return raw, nil
}
