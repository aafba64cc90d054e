package bench

import (
	"encoding/binary"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// machine is the state machine of a benchmark: it counts commands, and with store it also puts each one under
// a key of its own, in no order, as rows of many tables would come.
type machine struct {
	prefix []byte
	store  bool
	count  uint64
}

func (n *workerNode) machine(group shard.GroupID) multiraft.StateMachine {
	return newMachine(group, n.cfg.Apply == "store")
}

func newMachine(group shard.GroupID, store bool) *machine {
	lo, _ := keys.GroupSpan(group)
	return &machine{prefix: append(lo, 0xf0), store: store}
}

// Apply implements multiraft.StateMachine.
func (m *machine) Apply(batch *storage.Batch, entries []command.Entry) (command.Outcome, error) {
	outcome := command.Outcome{Results: make([][]byte, len(entries))}
	key := make([]byte, 0, len(m.prefix)+8)
	for i := range entries {
		m.count++
		if !m.store || len(entries[i].Data) == 0 {
			continue
		}
		// A multiplicative hash scatters the numbers over the key space.
		scattered := binary.BigEndian.Uint64(entries[i].Data) * 0x9e3779b97f4a7c15
		key = binary.BigEndian.AppendUint64(append(key[:0], m.prefix...), scattered)
		if err := batch.Set(key, entries[i].Data); err != nil {
			return outcome, fmt.Errorf("store a command: %w", err)
		}
	}
	return outcome, nil
}

// Publish implements multiraft.StateMachine.
func (m *machine) Publish() {}

// Announce implements multiraft.StateMachine.
func (m *machine) Announce() {}

// Restore implements multiraft.StateMachine.
func (m *machine) Restore(storage.Reader) error { return nil }
