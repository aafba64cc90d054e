package applier

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/invariant"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// version is what a row key holds: the newest version, or nothing.
type version struct {
	seq  uint64
	live bool
	row  []byte
}

func (d *Data) writeRows(
	batch *storage.Batch, at place, header *commandv1.Header, body *commandv1.WriteRows,
) (*commandv1.Response, error) {
	nowMicros := header.GetNowMicros()
	if refused := body.GetRefusal(); refused != nil {
		return &commandv1.Response{Failure: refused}, nil
	}
	if refusal := d.admit(body); refusal != nil {
		return refusal, nil
	}
	if refusal := d.checkFences(body); refusal != nil {
		return refusal, nil
	}
	refusal, err := d.admitRestore(batch, body)
	if refusal != nil || err != nil {
		return refusal, err
	}
	word, err := d.wordOf(batch, body)
	if err != nil {
		return nil, err
	}
	refusal, err = d.checkRead(batch, body, word)
	if refusal != nil || err != nil {
		return refusal, err
	}
	rowKeys := make([][]byte, len(body.GetRows()))
	for i, row := range body.GetRows() {
		rowKeys[i] = keys.Row(d.group, ident.TableID(row.GetTableId()), ident.UserID(row.GetUser()), row.GetPrimaryKey())
	}
	before, refusal, err := d.checkRows(batch, at, nowMicros, body.GetRows(), rowKeys, word)
	if refusal != nil || err != nil {
		return refusal, err
	}
	if refusal, err = d.writeIndexes(batch, body.GetRows()); refusal != nil || err != nil {
		return refusal, err
	}
	for i, row := range body.GetRows() {
		if vanishes(row) {
			if err := batch.Delete(rowKeys[i]); err != nil {
				return nil, err
			}
			continue
		}
		d.value = rowvalue.Append(d.value[:0], at.seq(i), row.GetDeleted(), row.GetRow())
		if err := batch.Set(rowKeys[i], d.value); err != nil {
			return nil, err
		}
		d.gaps.wrote(rowKeys[i])
	}
	d.touchScopes(at, header.GetLogFormat(), body.GetRows())
	if err := d.recordChanges(batch, at, nowMicros, body.GetRows(), before); err != nil {
		return nil, err
	}
	return &commandv1.Response{
		Affected: uint32(len(body.GetRows())), //nolint:gosec // at most command.MaxRows
		Reply:    body.GetReply(),
	}, nil
}

// admit refuses writes that can never be right: to a purged table, or with the wrong kind of owner.
func (d *Data) admit(body *commandv1.WriteRows) *commandv1.Response {
	check := func(table uint64, user string) *commandv1.Response {
		switch _, purged := d.purged[ident.TableID(table)]; {
		case table == 0:
			return command.Refuse(fault.Internal, "a row names no table")
		case purged:
			return command.Refuse(fault.TableNotFound, "Table not found: it was dropped")
		case d.private && user == "":
			return command.Refuse(fault.Internal, "a private row names no user")
		case !d.private && user != "":
			return command.Refuse(fault.Internal, "a shared row names a user")
		}
		return nil
	}
	for _, scope := range body.GetScopes() {
		if refusal := check(scope.GetTableId(), scope.GetUser()); refusal != nil {
			return refusal
		}
	}
	for _, span := range body.GetSpans() {
		if refusal := check(span.GetTableId(), span.GetUser()); refusal != nil {
			return refusal
		}
	}
	for _, span := range body.GetIndexSpans() {
		if refusal := check(span.GetTableId(), span.GetUser()); refusal != nil {
			return refusal
		}
	}
	for _, read := range body.GetReads() {
		if refusal := check(read.GetTableId(), read.GetUser()); refusal != nil {
			return refusal
		}
	}
	for _, row := range body.GetRows() {
		if refusal := check(row.GetTableId(), row.GetUser()); refusal != nil {
			return refusal
		}
		if row.GetExpect() > commandv1.Expect_EXPECT_SEQ || row.GetExpect() < commandv1.Expect_EXPECT_ANY {
			return command.Refuse(fault.Internal, "a row has the unknown expectation %d", row.GetExpect())
		}
	}
	return nil
}

// checkRows compares each row's expectation with the newest version of its key, where a row of the same
// command that stands before it counts as written. It returns the version before each row.
func (d *Data) checkRows(
	batch *storage.Batch, at place, nowMicros int64, rows []*commandv1.RowWrite, rowKeys [][]byte, word *coldWord,
) ([]version, *commandv1.Response, error) {
	var own map[string]version // versions this command writes; unused when it writes one row
	if len(rows) > 1 {
		own = make(map[string]version, len(rows))
	}
	before := make([]version, len(rows))
	for i, row := range rows {
		current, found := own[string(rowKeys[i])]
		if !found {
			var err error
			var hot bool
			if current, hot, err = d.readNewest(batch, row, rowKeys[i]); err != nil {
				return nil, nil, err
			}
			if !hot {
				if !word.holds(row.GetTableId(), row.GetUser(), row.GetPrimaryKey()) {
					return nil, coldMoved(), nil
				}
				if word != nil {
					current = coldVersion(row)
				}
			}
		}
		if refusal := checkRow(row, current, nowMicros); refusal != nil {
			return nil, refusal, nil
		}
		before[i] = current
		if own != nil {
			own[string(rowKeys[i])] = version{seq: at.seq(i), live: !row.GetDeleted(), row: row.GetRow()}
		}
	}
	return before, nil, nil
}

// recordChanges logs what the rows of a command changed. To delete what is not there changes nothing.
func (d *Data) recordChanges(
	batch *storage.Batch, at place, nowMicros int64, rows []*commandv1.RowWrite, before []version,
) error {
	first := len(d.changes)
	for i, row := range rows {
		change := changefeed.Change{
			Kind: changefeed.Insert, Table: ident.TableID(row.GetTableId()), User: ident.UserID(row.GetUser()),
			Seq: at.seq(i), Micros: nowMicros, PrimaryKey: row.GetPrimaryKey(), New: row.GetRow(),
		}
		switch {
		case row.GetDeleted() && !before[i].live:
			continue
		case row.GetDeleted():
			change.Kind, change.New = changefeed.Delete, nil
		case before[i].live:
			change.Kind = changefeed.Update
		}
		if before[i].live {
			change.OldSeq, change.Old = before[i].seq, before[i].row
		}
		d.changes = append(d.changes, change)
	}
	return d.log.Append(batch, d.changes[first:])
}

// checkRow compares what a write expects with what is there. A row whose time is over does not take its key, even
// when it has not been removed yet.
func checkRow(row *commandv1.RowWrite, current version, nowMicros int64) *commandv1.Response {
	until, expires := schema.RowExpiry(current.row)
	switch {
	case writtenLater(current.row, row.GetRow()):
		return altered()
	case row.GetExpect() == commandv1.Expect_EXPECT_ABSENT && current.live && expires && until <= nowMicros:
		return nil
	case row.GetExpect() == commandv1.Expect_EXPECT_ABSENT && current.live:
		text := row.GetKeyText()
		if text == "" {
			return command.RefuseTaken(fault.PrimaryKey, "a row with this key exists")
		}
		return command.RefuseTaken(fault.PrimaryKey, "a row with key %s exists", text)
	case row.GetExpect() == commandv1.Expect_EXPECT_SEQ && (!current.live || current.seq != row.GetExpectSeq()):
		return command.Refuse(fault.Conflict, "the row was changed by another statement; run the statement again")
	}
	return nil
}

// readNewest is readHot of a row that is written, which is spared where the key lies in a gap.
func (d *Data) readNewest(batch *storage.Batch, row *commandv1.RowWrite, key []byte) (found version, hot bool, err error) {
	if d.gaps.absent(key) {
		if invariant.Enabled {
			_, hot, err = readHot(batch, key)
			invariant.Check(err != nil || !hot, "a row of group %s lies in a gap: %x", d.group, key)
		}
		return version{}, false, nil
	}
	if found, hot, err = readHot(batch, key); err != nil || hot || !d.gaps.affords(key) {
		return found, hot, err
	}
	_, end := keys.UserTableSpan(d.group, ident.TableID(row.GetTableId()), ident.UserID(row.GetUser()))
	return version{}, false, d.gaps.learn(batch, key, end)
}

// readHot reads the version that the row store has under a key; hot is false when it has none.
func readHot(batch *storage.Batch, key []byte) (found version, hot bool, err error) {
	value, ok, err := batch.Get(key)
	if err != nil || !ok {
		return version{}, false, err
	}
	seq, deleted, row, err := rowvalue.Decode(value)
	if err != nil {
		return version{}, false, fmt.Errorf("%w: row %x: %w", storage.ErrCorruption, key, err)
	}
	return version{seq: seq, live: !deleted, row: row}, true, nil
}
