package sim

import (
	"bytes"
	"fmt"
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
		group: group, private: group.Class() == shard.ClassUser, rows: make(map[rowName]modelRow),
		scopes: make(map[scopeName]uint64), purged: make(map[uint64]bool), requests: make(map[ident.RequestID]answered), seqs: make(map[ident.RequestID]uint64),
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
		m.index, m.taken = index, 0
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
		for i, row := range body.WriteRows.GetRows() {
			name, after := nameOf(row), modelRow{seq: base + uint64(i), deleted: row.GetDeleted(), value: string(row.GetRow())}
			m.noteChange(name, m.rows[name], after)
			m.rows[name] = after
			m.scopes[scopeName{row.GetTableId(), row.GetUser()}] = index
		}
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

// compare says how a replica's rows differ from the model's, "" when they do not.
func (m *model) compare(reader storage.Reader) (string, error) {
	found := 0
	difference := ""
	err := eachRow(reader, m.group, func(name rowName, row modelRow) {
		want, ok := m.rows[name]
		found++
		if (!ok || want != row) && difference == "" {
			difference = fmt.Sprintf("row %v is %v, the log says %v", name, row, want)
		}
	})
	if err != nil || difference != "" {
		return difference, err
	}
	if found != len(m.rows) {
		return fmt.Sprintf("%d rows, the log says %d", found, len(m.rows)), nil
	}
	return "", nil
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
