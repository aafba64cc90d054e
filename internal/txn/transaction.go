package txn

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// overheadBytes is what a row or a read takes in a command beside its key and its values.
const overheadBytes = 64

// Transaction is one open transaction.
type Transaction struct {
	ID       string
	Owner    ident.UserID
	ReadOnly bool
	// Arbitrated says that unique values of others have decided what a statement of it does: to lose a race for one is a conflict.
	Arbitrated bool

	begun    time.Time
	maxBytes int64
	memory   Memory
	reserved int64  // of memory
	entry    *entry // its place in the registry

	group    shard.GroupID
	snapshot *storage.Snapshot // nil before the first statement that touches a table

	Writes

	scopes map[scopeKey]uint64            // scopes that must be unchanged, with the index of their last write
	reads  map[scopeKey]map[string]uint64 // _seq of rows that must be unchanged, zero for none

	indexes map[scopeKey]uint64 // of the last write into the scopes of spans
	spans   map[scopeKey][]span // ranges of keys in which nothing must have changed

	indexSpans []*commandv1.IndexSpanUnchanged // ranges of indexes by which rows were found

	revisions []*commandv1.TableRevision // of the tables that are written, or read by an index

	// Before and After are catalogs as of before and after the snapshot was taken. An index that is ready in both has
	// every row of it. After is nil until an index is to be read.
	Before, After *catalog.Catalog

	cold map[scopeKey]*commandv1.ColdRead // scopes of which single keys were read or are written

	readCount  int
	spanCount  int   // of both kinds
	bytes      int64 // of rows and reads
	savepoints []savepoint
	undo       []undo // what the rows were, since the first savepoint
	undoBytes  int64  // of the rows in undo; bounded like what is written
	// Failed is set when a statement failed and savepoints exist; only ROLLBACK may follow.
	Failed bool
}

// scopeKey names a scope of the transaction's group.
type scopeKey struct {
	table ident.TableID
	user  ident.UserID
}

// savepoint is a named point in the undo list.
type savepoint struct {
	name string
	undo int
}

// undo says what a row was before a write; nil when it was not written.
type undo struct {
	place  int
	before *commandv1.RowWrite
}

// bytes is what the entry keeps.
func (u undo) bytes() int64 {
	if u.before == nil {
		return overheadBytes
	}
	return overheadBytes + rowBytes(u.before)
}

func newTransaction(id string, owner ident.UserID, begun time.Time, maxBytes int64) *Transaction {
	return &Transaction{
		ID: id, Owner: owner, begun: begun, maxBytes: maxBytes,
		Writes: newWrites(), scopes: map[scopeKey]uint64{},
		reads: map[scopeKey]map[string]uint64{}, spans: map[scopeKey][]span{}, indexes: map[scopeKey]uint64{},
		cold: map[scopeKey]*commandv1.ColdRead{},
	}
}

// Begun reports whether the transaction has its snapshot, and in which group.
func (t *Transaction) Begun() (group shard.GroupID, ok bool) { return t.group, t.snapshot != nil }

// Start gives the transaction its group and snapshot. It is called once, after a barrier of the group.
func (t *Transaction) Start(group shard.GroupID, snapshot *storage.Snapshot) {
	t.group, t.snapshot = group, snapshot
}

// Snapshot is what the transaction reads beside its own writes.
func (t *Transaction) Snapshot() *storage.Snapshot { return t.snapshot }

func keyOf(scope *table.Scope) scopeKey { return scopeKey{scope.Table.ID, scope.User} }

// Write takes over the rows of one statement. A key that was written before keeps its first expectation,
// which is about what the snapshot holds. On an error nothing is taken over.
func (t *Transaction) Write(rows []*commandv1.RowWrite) error {
	added, fresh, undone := int64(0), 0, int64(0)
	for _, row := range rows {
		added += rowBytes(row)
		undone += overheadBytes
		if place, again := t.places[rowScope(row)][string(row.GetPrimaryKey())]; again {
			added -= rowBytes(t.rows[place])
			undone += rowBytes(t.rows[place])
		} else {
			fresh++
		}
	}
	if err := t.room(added, fresh); err != nil {
		return err
	}
	if len(t.savepoints) > 0 {
		if err := t.reserve(t.bytes + t.undoBytes + added + undone); err != nil {
			return err
		}
	}
	for _, row := range rows {
		t.write(row)
	}
	t.bytes += added
	return nil
}

// room checks the bounds of a transaction. What it holds becomes one command, so the bound of a command
// holds too.
func (t *Transaction) room(bytes int64, rows int) error {
	limit := min(t.maxBytes, command.MaxBytes)
	switch {
	case len(t.rows)+rows > command.MaxRows:
		return fault.New(fault.LimitExceeded, "the transaction would write more than %d rows; split it", command.MaxRows)
	case t.undoBytes > t.maxBytes:
		return fault.New(fault.LimitExceeded, "the savepoints of the transaction would keep more than %d bytes; release some", t.maxBytes)
	case t.bytes+bytes > limit && limit == command.MaxBytes:
		return fault.New(fault.LimitExceeded,
			"the transaction would take more than %d MiB with what it writes and depends on, the most that one log entry holds; split it", limit>>20)
	case t.bytes+bytes > limit:
		return fault.New(fault.LimitExceeded,
			"the transaction would take more than %d bytes with what it writes and depends on, the most that transaction.max_bytes allows; split it", limit)
	}
	return t.reserve(t.bytes + t.undoBytes + bytes)
}

// reserveStepBytes is how much a transaction takes of the node's memory at a time.
const reserveStepBytes = 64 << 10

// reserve makes the transaction's part of the node's memory at least as large as a number of bytes. It keeps it to its end.
func (t *Transaction) reserve(bytes int64) error {
	if bytes <= t.reserved {
		return nil
	}
	step := (bytes - t.reserved + reserveStepBytes - 1) / reserveStepBytes * reserveStepBytes
	if err := t.memory.Take(step); err != nil {
		return err
	}
	t.reserved += step
	return nil
}

func (t *Transaction) write(row *commandv1.RowWrite) {
	scope, key := rowScope(row), string(row.GetPrimaryKey())
	place, again := t.places[scope][key]
	if !again {
		place = len(t.rows)
		if t.places[scope] == nil {
			t.places[scope] = map[string]int{}
		}
		t.places[scope][key] = place
		delete(t.sorted, scope)
		t.rows = append(t.rows, row)
		t.remember(undo{place: place})
		return
	}
	before := t.rows[place]
	mergeEntries(row, before)
	row.Expect, row.ExpectSeq, row.KeyText = before.GetExpect(), before.GetExpectSeq(), before.GetKeyText()
	row.ColdSeq, row.ColdRow = before.GetColdSeq(), before.GetColdRow()
	t.rows[place] = row
	t.remember(undo{place, before})
}

// mergeEntries makes the index entries of a later version of a row follow on from what the snapshot holds, over an
// earlier version that is not to be written.
func mergeEntries(row, before *commandv1.RowWrite) {
	unindex := slices.Clone(before.GetUnindex())
	index := slices.Clone(before.GetIndex())
	for _, entry := range row.GetUnindex() {
		own := slices.IndexFunc(index, func(e *commandv1.IndexEntry) bool {
			return e.GetIndexId() == entry.GetIndexId() && bytes.Equal(e.GetKey(), entry.GetKey())
		})
		if own >= 0 {
			index = slices.Delete(index, own, own+1)
			continue
		}
		unindex = append(unindex, entry)
	}
	row.Unindex, row.Index = unindex, append(index, row.GetIndex()...)
}

// Revise notes the revision of the descriptor that rows were made with. The lowest one counts.
func (t *Transaction) Revise(id ident.TableID, revision uint32) {
	for _, known := range t.revisions {
		if known.GetTableId() == uint64(id) {
			known.Revision = min(known.GetRevision(), revision)
			return
		}
	}
	t.revisions = append(t.revisions, &commandv1.TableRevision{TableId: uint64(id), Revision: revision})
}

func (t *Transaction) remember(u undo) {
	if len(t.savepoints) == 0 {
		return
	}
	t.undo = append(t.undo, u)
	t.undoBytes += u.bytes()
}

// entryBytes is what an index entry takes in a command beside its key and text.
const entryBytes = 16

func rowScope(row *commandv1.RowWrite) scopeKey {
	return scopeKey{ident.TableID(row.GetTableId()), ident.UserID(row.GetUser())}
}

func rowBytes(row *commandv1.RowWrite) int64 {
	size := len(row.GetPrimaryKey()) + len(row.GetRow()) + len(row.GetColdRow()) + len(row.GetUser()) + len(row.GetKeyText()) + overheadBytes
	for _, entries := range [][]*commandv1.IndexEntry{row.GetUnindex(), row.GetIndex()} {
		for _, entry := range entries {
			size += len(entry.GetKey()) + len(entry.GetText()) + entryBytes
		}
	}
	return int64(size)
}

// Command is the one command that commits the transaction, nil when it wrote nothing: what only reads needs
// no commit, because it saw one moment.
func (t *Transaction) Command() *commandv1.WriteRows {
	if len(t.rows) == 0 {
		return nil
	}
	body := &commandv1.WriteRows{Rows: t.rows, Revisions: t.revisions}
	for scope, index := range t.scopes {
		body.Scopes = append(body.Scopes, &commandv1.ScopeUnchanged{
			TableId: uint64(scope.table), User: string(scope.user), Index: index,
		})
	}
	for _, read := range t.cold {
		body.Cold = append(body.Cold, read)
	}
	slices.SortFunc(body.Cold, func(a, b *commandv1.ColdRead) int {
		return compare(a.GetTableId(), b.GetTableId(), a.GetUser(), b.GetUser(), nil, nil)
	})
	slices.SortFunc(body.Scopes, func(a, b *commandv1.ScopeUnchanged) int {
		return compare(a.GetTableId(), b.GetTableId(), a.GetUser(), b.GetUser(), nil, nil)
	})
	for scope, read := range t.reads {
		if _, whole := t.scopes[scope]; whole {
			continue
		}
		for key, seq := range read {
			if _, written := t.places[scope][key]; written {
				continue // the row's own expectation says it
			}
			body.Reads = append(body.Reads, &commandv1.RowRead{
				TableId: uint64(scope.table), User: string(scope.user), PrimaryKey: []byte(key), Seq: seq,
			})
		}
	}
	for scope, spans := range t.spans {
		if _, whole := t.scopes[scope]; whole {
			continue
		}
		for _, s := range spans {
			body.Spans = append(body.Spans, &commandv1.SpanUnchanged{
				TableId: uint64(scope.table), User: string(scope.user), Low: s.low, High: s.high, Index: t.indexes[scope],
			})
		}
	}
	for _, s := range t.indexSpans {
		if _, whole := t.scopes[scopeKey{ident.TableID(s.GetTableId()), ident.UserID(s.GetUser())}]; !whole {
			body.IndexSpans = append(body.IndexSpans, s)
		}
	}
	slices.SortFunc(body.Spans, func(a, b *commandv1.SpanUnchanged) int {
		if c := compare(a.GetTableId(), b.GetTableId(), a.GetUser(), b.GetUser(), a.GetLow(), b.GetLow()); c != 0 {
			return c
		}
		return bytes.Compare(a.GetHigh(), b.GetHigh())
	})
	slices.SortFunc(body.Reads, func(a, b *commandv1.RowRead) int {
		return compare(a.GetTableId(), b.GetTableId(), a.GetUser(), b.GetUser(), a.GetPrimaryKey(), b.GetPrimaryKey())
	})
	return body
}

func compare(tableA, tableB uint64, userA, userB string, keyA, keyB []byte) int {
	switch {
	case tableA != tableB:
		if tableA < tableB {
			return -1
		}
		return 1
	case userA != userB:
		return strings.Compare(userA, userB)
	}
	return slices.Compare(keyA, keyB)
}
