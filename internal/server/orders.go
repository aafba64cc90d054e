package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// ordersFile is the name of the file with what an operator asked of this node and what outlives a restart: whether it
// is drained, and which groups are held until when. Its form is that of node.id: the CRC-32C of the JSON in eight
// hexadecimal digits, a space, the JSON.
const ordersFile = "orders"

// orders are the orders of operators that outlive a restart.
type orders struct {
	fs  disk.FS
	dir string

	mu     sync.Mutex // guards stored
	stored storedOrders
}

// storedOrders is the stored form.
type storedOrders struct {
	Version  int              `json:"version"`
	Draining bool             `json:"draining"`
	Holds    map[uint64]int64 `json:"holds,omitempty"` // end of a hold by group, microseconds since 1970 UTC
}

// loadOrders reads the file of a data directory; without one, nothing was asked.
func loadOrders(fsys disk.FS, dir string) (*orders, error) {
	o := &orders{fs: fsys, dir: dir, stored: storedOrders{Version: 1, Holds: map[uint64]int64{}}}
	path := filepath.Join(dir, ordersFile)
	raw, err := readFile(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return nil, err
	}
	sum, body, found := strings.Cut(strings.TrimSuffix(string(raw), "\n"), " ")
	if !found || sum != checksum([]byte(body)) {
		return nil, fmt.Errorf("%s: the checksum does not match; the file is damaged: remove it, and drain the node again if it was drained", path)
	}
	if err := json.Unmarshal([]byte(body), &o.stored); err != nil {
		return nil, fmt.Errorf("%s: decode: %w", path, err)
	}
	if o.stored.Version != 1 {
		return nil, fmt.Errorf("%s: format version %d is not known to this program", path, o.stored.Version)
	}
	if o.stored.Holds == nil {
		o.stored.Holds = map[uint64]int64{}
	}
	return o, nil
}

func checksum(body []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

// take records an order before it is carried out, if it outlives a restart.
func (o *orders) take(req *nodev1.OperateRequest, now time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch req.GetOrder() { //nolint:exhaustive // all other orders are done at once
	case nodev1.Order_ORDER_DRAIN, nodev1.Order_ORDER_RESUME:
		draining := req.GetOrder() == nodev1.Order_ORDER_DRAIN
		if o.stored.Draining == draining {
			return nil
		}
		o.stored.Draining = draining
	case nodev1.Order_ORDER_HOLD:
		for _, group := range req.GetGroups() {
			o.stored.Holds[group] = now.Add(multiraft.HoldFor).UnixMicro()
		}
	case nodev1.Order_ORDER_REBALANCE:
		if req.GetDryRun() || len(o.stored.Holds) == 0 {
			return nil
		}
		for _, group := range req.GetGroups() {
			delete(o.stored.Holds, group)
		}
	default:
		return nil
	}
	for group, until := range o.stored.Holds {
		if until <= now.UnixMicro() {
			delete(o.stored.Holds, group)
		}
	}
	body, err := json.Marshal(o.stored)
	if err != nil {
		return fmt.Errorf("encode %s: %w", ordersFile, err)
	}
	return disk.WriteFileAtomic(o.fs, filepath.Join(o.dir, ordersFile), fmt.Appendf(nil, "%s %s\n", checksum(body), body))
}

// pending is what a node that starts has to take up: whether it is drained, and how long each group is still held.
func (o *orders) pending(now time.Time) (draining bool, holds map[shard.GroupID]time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	holds = map[shard.GroupID]time.Duration{}
	for group, until := range o.stored.Holds {
		// A clock that went back does not make a hold longer than one can be.
		if rest := min(time.UnixMicro(until).Sub(now), multiraft.HoldFor); rest > 0 {
			holds[shard.GroupID(group)] = rest
		}
	}
	return o.stored.Draining, holds
}
