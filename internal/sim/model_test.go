package sim

import (
	"bytes"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// model is the naive twin of one data group: what its log means, in maps. It never forgets a request.
type model struct {
	group    shard.GroupID
	private  bool
	rows     map[rowName]modelRow
	scopes   map[scopeName]uint64
	purged   map[uint64]bool
	requests map[ident.RequestID]answered
	changes  []change                   // all that ever were
	index    uint64                     // of the last command that ran
	taken    uint64                     // ordinals of that entry
	seqs     map[ident.RequestID]uint64 // of the first row of each command that ran
	cold     map[rowName]bool           // rows that a flush took
	token    uint64                     // the highest under which rows were restored
	origin   uint64                     // the ordinal from which an entry's rows are numbered since
}

type scopeName struct {
	table uint64
	user  string
}

type rowName struct {
	table     uint64
	user, key string
}

type modelRow struct {
	seq     uint64
	deleted bool
	value   string
}

// answered is how a request ended.
type answered struct {
	ok   bool
	kind fault.Kind // when not ok
}

func newModel(group shard.GroupID) *model {
	return &model{
		group: group, private: group.Class() == shard.ClassUser || group == shard.Local, rows: make(map[rowName]modelRow),
		scopes: make(map[scopeName]uint64), purged: make(map[uint64]bool), requests: make(map[ident.RequestID]answered), seqs: make(map[ident.RequestID]uint64),
		cold: make(map[rowName]bool),
	}
}

// apply runs one committed command; repeated says that its request ran before, at a lower index. An outcome that is given
// is not judged.
func (m *model) apply(index uint64, cmd *commandv1.Command, given *answered) (end answered, repeated bool) {
	id := command.RequestID(cmd)
	if first, ok := m.requests[id]; ok {
		return first, true
	}
	end = answered{ok: true}
	if index != m.index {
		m.index, m.taken = index, m.origin // no command here has so many rows that it would begin lower
	}
	base := index<<16 | m.taken
	m.taken += max(1, uint64(len(cmd.GetWriteRows().GetRows())))
	m.seqs[id] = base
	switch body := cmd.GetBody().(type) {
	case *commandv1.Command_WriteRows:
		kind, refused := m.refuse(body.WriteRows)
		if given != nil {
			kind, refused = given.kind, !given.ok
		}
		if refused {
			end = answered{kind: kind}
			break
		}
		if token := body.WriteRows.GetRestoreToken(); token > m.token {
			m.token, m.origin = token, uint64(body.WriteRows.GetRestoreOrigin())
		}
		for i, row := range body.WriteRows.GetRows() {
			name, after := nameOf(row), modelRow{seq: base + uint64(i), deleted: row.GetDeleted(), value: string(row.GetRow())}
			m.noteChange(name, m.before(row), after)
			m.rows[name] = after
			if row.GetDeleted() && m.group == shard.Local {
				delete(m.rows, name) // of a stream table
			}
			delete(m.cold, name)
			m.scopes[scopeName{row.GetTableId(), row.GetUser()}] = index
		}
	case *commandv1.Command_CommitSegment:
		m.cool(body.CommitSegment)
	case *commandv1.Command_PurgeTable:
		table := body.PurgeTable.GetTableId()
		m.purged[table] = true
		for name := range m.rows {
			if name.table == table {
				delete(m.rows, name)
			}
		}
		for name := range m.scopes {
			if name.table == table {
				delete(m.scopes, name)
			}
		}
	}
	if given != nil {
		end = *given
	}
	m.requests[id] = end
	return end, false
}

// before is the version that a write replaces. Of a cold one the writer states what is in it, by the columns of its time.
func (m *model) before(row *commandv1.RowWrite) modelRow {
	before := m.rows[nameOf(row)]
	if m.cold[nameOf(row)] && !before.deleted && row.GetColdSeq() == before.seq {
		before.value = string(row.GetColdRow())
	}
	return before
}

// cool notes which rows a flush makes cold.
func (m *model) cool(body *commandv1.CommitSegment) {
	s := body.GetSegment()
	for name, row := range m.rows {
		if name.table == body.GetTableId() && name.user == body.GetUser() && command.SeqIndex(row.seq) <= body.GetUptoIndex() &&
			name.key >= string(s.GetMinKey()) && name.key <= string(s.GetMaxKey()) {
			m.cold[name] = true
		}
	}
}

func nameOf(row *commandv1.RowWrite) rowName {
	return rowName{row.GetTableId(), row.GetUser(), string(row.GetPrimaryKey())}
}

func (m *model) refuse(write *commandv1.WriteRows) (fault.Kind, bool) {
	for _, row := range write.GetRows() {
		if m.purged[row.GetTableId()] {
			return fault.TableNotFound, true
		}
		if m.private != (row.GetUser() != "") {
			return fault.Internal, true
		}
	}
	if token := write.GetRestoreToken(); token > 0 && token < m.token {
		return fault.Conflict, true
	}
	for _, scope := range write.GetScopes() {
		if m.purged[scope.GetTableId()] {
			return fault.TableNotFound, true
		}
		if m.scopes[scopeName{scope.GetTableId(), scope.GetUser()}] > scope.GetIndex() {
			return fault.Conflict, true
		}
	}
	for _, row := range write.GetRows() {
		current := m.rows[nameOf(row)]
		live := current.seq != 0 && !current.deleted
		switch {
		case row.GetExpect() == commandv1.Expect_EXPECT_ABSENT && live:
			return fault.DuplicateKey, true
		case row.GetExpect() == commandv1.Expect_EXPECT_SEQ && (!live || current.seq != row.GetExpectSeq()):
			return fault.Conflict, true
		}
	}
	return 0, false
}

// eachRow visits every stored row version of a group.
func eachRow(reader storage.Reader, group shard.GroupID, visit func(rowName, modelRow)) error {
	lo, hi := keys.GroupSpan(group)
	lo = append(slices.Clone(lo), byte(keys.KindRow))
	it, err := reader.Scan(lo, hi)
	if err != nil {
		return err
	}
	// A visitor may end the run.
	defer func() { _ = it.Close() }()
	end := append(slices.Clone(lo[:len(lo)-1]), byte(keys.KindRow)+1)
	for ok := it.First(); ok && bytes.Compare(it.Key(), end) < 0; ok = it.Next() {
		key, err := keys.ParseRow(it.Key())
		if err != nil {
			return err
		}
		value, err := it.Value()
		if err != nil {
			return err
		}
		seq, deleted, row, err := rowvalue.Decode(value)
		if err != nil {
			return err
		}
		visit(rowName{uint64(key.Table), string(key.User), string(key.PrimaryKey)}, modelRow{seq, deleted, string(row)})
	}
	return it.Err()
}
