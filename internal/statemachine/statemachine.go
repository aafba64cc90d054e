// Package statemachine turns committed log entries into state: it decodes, keeps order, and drops duplicates.
//
// Meta, UserData and SharedData are the state machines of the three classes of groups. They satisfy the interface
// that replication declares, without knowing it: the two meet in server. What a single command does is said by
// an Applier.
//
// For each log entry, in this order: an entry without data is a no-op; an entry that cannot be decoded stops
// the replica, because to skip it would be to differ from replicas that understand it; an entry with a data command whose
// planner had seen a later meta index waits (the entry and all behind it stay in the log, and the run ends
// there); of its commands, a repeat of a remembered request is answered with the first response, and anything else goes
// to the applier, and its response is remembered. A refused command of an entry changes nothing for the others.
//
// Always true: the key space after applying a log is the same however the log was cut into runs, however
// often the node was restarted between them, and on every replica. A run's effects and its applied index are in one
// batch. Calls come from one goroutine at a time.
package statemachine

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/invariant"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Applier carries out single commands. Only *applier.Meta and *applier.Data implement it.
type Applier interface {
	// Apply stages one command, as a whole or not at all. A refused command has a response with a
	// failure; an error stops the replica.
	Apply(batch *storage.Batch, index uint64, cmd *commandv1.Command) (*commandv1.Response, error)
	// Finish is called after the last entry of a run, with its index.
	Finish(batch *storage.Batch, index uint64) error
	// Publish is called once the batch is committed, and Announce when the callers were told.
	Publish()
	Announce()
	// Restore builds derived memory from the group's keys.
	Restore(reader storage.Reader) error
}

// Machine is the state machine of one group.
type Machine interface {
	// Apply stages entries into the batch, in order; see command.Outcome.
	Apply(batch *storage.Batch, entries []command.Entry) (command.Outcome, error)
	// Publish makes what was staged visible to readers, after the batch is committed.
	Publish()
	// Announce tells those who watch of what was staged, after Publish.
	Announce()
	// Restore builds derived memory anew: once before the first Apply, and after a snapshot has replaced the keys.
	Restore(reader storage.Reader) error
}

// Meta is the state machine of the meta group.
type Meta struct{ core }

// UserData is the state machine of a user-data shard and of node-local rows: every row belongs to a user.
type UserData struct{ core }

// SharedData is the state machine of a shared-data shard: no row belongs to a user.
type SharedData struct{ core }

// NewMeta returns the meta group's state machine. It publishes to the store and is its only writer.
func NewMeta(store *catalog.Store) *Meta {
	return newMeta(store, Options{})
}

func newMeta(store *catalog.Store, o Options) *Meta {
	return &Meta{core{group: shard.Meta, applier: applier.NewMeta(store), duplicates: newDuplicates(shard.Meta, o.RequestWindow)}}
}

// NewUserData returns the state machine of a user-data shard. metaIndex returns the meta index that is applied
// and published on this node; publisher is told of committed row changes and may be nil.
func NewUserData(group shard.GroupID, metaIndex func() uint64, publisher applier.Publisher) *UserData {
	return &UserData{newData(group, shard.ClassUser, metaIndex, Options{Publisher: publisher})}
}

// NewSharedData returns the state machine of a shared-data shard. metaIndex returns the meta index that is applied
// and published on this node; publisher is told of committed row changes and may be nil.
func NewSharedData(group shard.GroupID, metaIndex func() uint64, publisher applier.Publisher) *SharedData {
	return &SharedData{newData(group, shard.ClassShared, metaIndex, Options{Publisher: publisher})}
}

// New returns the state machine of any group. Data groups wait for the store's published index, and nobody is
// told of their changes.
func New(group shard.GroupID, store *catalog.Store) (Machine, error) {
	return NewWith(group, store, Options{})
}

// Options are what a state machine may be given besides.
type Options struct {
	Publisher applier.Publisher // told of committed row changes; may be nil
	// RequestWindow is how many log indexes back a request is remembered at least, the same on all replicas of a cluster
	// from its founding on; zero is the default.
	RequestWindow uint64
}

// NewWith is New with options.
func NewWith(group shard.GroupID, store *catalog.Store, o Options) (Machine, error) {
	switch group.Class() {
	case shard.ClassMeta:
		return newMeta(store, o), nil
	case shard.ClassUser, shard.ClassLocal:
		return &UserData{newData(group, group.Class(), store.Index, o)}, nil
	case shard.ClassShared:
		return &SharedData{newData(group, shard.ClassShared, store.Index, o)}, nil
	default:
		return nil, fmt.Errorf("state machine of %s: no such group", group)
	}
}

func newData(group shard.GroupID, class shard.Class, metaIndex func() uint64, o Options) core {
	invariant.Check(group.Class() == class, "group %s is not of class %s", group, class)
	data := applier.NewData(group, changelog.DefaultRetention(), o.Publisher)
	return core{group: group, metaIndex: metaIndex, applier: data, duplicates: newDuplicates(group, o.RequestWindow)}
}

// core is what the three state machines have in common.
type core struct {
	group      shard.GroupID
	metaIndex  func() uint64 // nil for the meta group, which waits for nothing
	applier    Applier
	duplicates *duplicates
	last       uint64 // index of the last entry applied since Restore
	restored   bool
	decoded    []*commandv1.Command // of the entry at hand; used again
}

// Apply implements Machine.
func (c *core) Apply(batch *storage.Batch, entries []command.Entry) (command.Outcome, error) {
	invariant.Check(c.restored, "group %s applies before it is restored", c.group)
	outcome := command.Outcome{Results: make([][]byte, 0, len(entries))}
	for len(entries) > 0 {
		n, err := c.entryLength(entries)
		if err != nil {
			return outcome, fmt.Errorf("apply %s: %w", c.group, err)
		}
		wait, err := c.applyEntry(batch, entries[:n], &outcome)
		if err != nil {
			return outcome, fmt.Errorf("apply %s, index %d, term %d: %w", c.group, entries[0].Index, entries[0].Term, err)
		}
		if wait != 0 {
			outcome.WaitMeta = wait
			break
		}
		c.last = entries[0].Index
		entries = entries[n:]
	}
	if len(outcome.Results) == 0 {
		return outcome, nil
	}
	if err := c.applier.Finish(batch, c.last); err != nil {
		return outcome, fmt.Errorf("apply %s, index %d: %w", c.group, c.last, err)
	}
	if err := c.duplicates.settle(batch); err != nil {
		return outcome, fmt.Errorf("apply %s, index %d: %w", c.group, c.last, err)
	}
	return outcome, nil
}

// Publish implements Machine.
func (c *core) Publish() { c.applier.Publish() }

// Announce implements Machine.
func (c *core) Announce() { c.applier.Announce() }

// Restore implements Machine.
func (c *core) Restore(reader storage.Reader) error {
	if err := c.duplicates.restore(reader); err != nil {
		return fmt.Errorf("restore %s: %w", c.group, err)
	}
	if err := c.applier.Restore(reader); err != nil {
		return fmt.Errorf("restore %s: %w", c.group, err)
	}
	c.last, c.restored = 0, true
	return nil
}

// entryLength is how many commands the next log entry holds.
func (c *core) entryLength(entries []command.Entry) (int, error) {
	first := &entries[0]
	if first.Index <= c.last {
		return 0, fmt.Errorf("index %d follows %d", first.Index, c.last)
	}
	for i := range entries {
		if entries[i].Index != first.Index || entries[i].Position != i {
			return 0, fmt.Errorf("index %d: position %d of index %d where position %d is next", first.Index, entries[i].Position, entries[i].Index, i)
		}
		if entries[i].More {
			continue
		}
		if i > 0 && c.group.Class() == shard.ClassMeta {
			return 0, fmt.Errorf("index %d: %d commands in an entry of the meta group", first.Index, i+1)
		}
		return i + 1, nil
	}
	return 0, fmt.Errorf("index %d: the run ends within the entry", first.Index)
}

// applyEntry stages the commands of one log entry and adds their results. A wait that is not zero means that nothing was
// staged: they wait together, because an index is applied as a whole.
func (c *core) applyEntry(batch *storage.Batch, entries []command.Entry, outcome *command.Outcome) (wait uint64, err error) {
	c.decoded = c.decoded[:0]
	for i := range entries {
		if len(entries[i].Data) == 0 {
			c.decoded = append(c.decoded, nil)
			continue
		}
		cmd, failed := command.Decode(entries[i].Data)
		if failed != nil {
			return 0, failed
		}
		c.decoded = append(c.decoded, cmd)
		wait = max(wait, cmd.GetHeader().GetMetaIndex())
	}
	if c.metaIndex != nil && wait > c.metaIndex() {
		return wait, nil
	}
	for i, cmd := range c.decoded {
		var result []byte
		if cmd != nil {
			if result, err = c.applyCommand(batch, &entries[i], cmd); err != nil {
				return 0, err
			}
		}
		outcome.Results = append(outcome.Results, result)
	}
	clear(c.decoded)
	c.duplicates.finish(entries[0].Index)
	return 0, nil
}

// applyCommand stages one command.
func (c *core) applyCommand(batch *storage.Batch, entry *command.Entry, cmd *commandv1.Command) (result []byte, err error) {
	if err = c.duplicates.evict(batch, entry.Index); err != nil {
		return nil, err
	}
	request := requestID(entry, cmd)
	first, known, err := c.duplicates.find(batch, request)
	if err != nil || known {
		return first, err
	}
	if !request.IsZero() && c.duplicates.forgotten(cmd.GetHeader().GetMinIndex()) {
		// Not remembered: a later copy may say more precisely how old the request is.
		return command.EncodeResponse(tooOld(entry.Index))
	}
	response, err := c.applier.Apply(batch, entry.Index, cmd)
	if err != nil {
		return nil, err
	}
	response.Index = entry.Index
	if result, err = command.EncodeResponse(response); err != nil {
		return nil, err
	}
	c.duplicates.remember(entry.Index, request, result)
	return result, nil
}

func tooOld(index uint64) *commandv1.Response {
	response := command.Refuse(fault.Timeout,
		"the request is too old to tell whether it was carried out before; its outcome is unknown")
	response.Index = index
	return response
}

// requestID is the identity of the request: the header's, which the command carries wherever it goes, else the
// log entry's.
func requestID(entry *command.Entry, cmd *commandv1.Command) ident.RequestID {
	if id := command.RequestID(cmd); !id.IsZero() {
		return id
	}
	return entry.RequestID
}
