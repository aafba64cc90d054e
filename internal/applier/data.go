package applier

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/invariant"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/restorevalue"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// maxIndex is the largest log index whose _seq fits into 64 bits.
const maxIndex = 1<<48 - 1

// Publisher learns of committed changes. *changefeed.Feed implements it. It never waits.
type Publisher interface {
	// Publish is given the changes of a committed batch, in apply order; the slice is the caller's.
	Publish(group shard.GroupID, changes []changefeed.Change)
	// Reset says that the group's state was replaced.
	Reset(group shard.GroupID)
}

// Data applies the commands of one data group.
type Data struct {
	group shard.GroupID
	// private says whether rows belong to users (each write names one) or to nobody (no write may).
	private bool
	// purged are the tables that were dropped here. It mirrors the markers in the store, so that a write
	// need not read them. It holds eight bytes for each table ever dropped.
	purged map[ident.TableID]struct{}
	// fences mirrors the fences in the store. It holds twelve bytes for each table that was ever fenced.
	fences map[ident.TableID]uint32
	// cold mirrors what matters of the manifests in the store. It holds a hundred bytes or so for each segment.
	cold map[coldScope]*coldState
	// value is reused between rows.
	value []byte
	// gaps are spans of row keys in which there is no row.
	gaps gaps
	// touched are the last writes to scopes that are not in the batch yet.
	touched touched
	// log keeps the newest changes in the store.
	log *changelog.Writer
	// publisher is told of changes; nil tells nobody.
	publisher Publisher
	// changes are those of the commands since the last Announce.
	changes []changefeed.Change
	// at and taken are the last log entry that was applied and how many ordinals its commands have taken: the rows
	// of the commands of one entry are numbered through.
	at    uint64
	taken int
	// restored is the mark of the restore that wrote into the group.
	restored restorevalue.Mark
}

// NewData returns the applier of a data group; Restore must be called before Apply. The publisher may be nil.
func NewData(group shard.GroupID, retention changelog.Retention, publisher Publisher) *Data {
	return &Data{
		group: group, private: group.Class() != shard.ClassShared,
		log: changelog.NewWriter(group, retention), publisher: publisher,
	}
}

// place is where a command stands in the log: its entry, and the first of its rows' ordinals there.
type place struct {
	index uint64
	base  int
}

// seq is the _seq of the command's i-th row.
func (p place) seq(i int) uint64 { return command.Seq(p.index, p.base+i) }

// take gives a command that writes so many rows its place. Refused commands take theirs too. Behind a restore the numbers of an entry
// begin at its origin, or so far below it that all rows have one.
func (d *Data) take(index uint64, rows int) (place, error) {
	if index != d.at {
		d.at, d.taken = index, min(int(d.restored.Origin), max(0, command.MaxRows-rows))
	}
	p := place{index: index, base: d.taken}
	if d.taken += rows; d.taken > command.MaxRows {
		return p, fmt.Errorf("the commands of an entry write %d rows, at most %d can be numbered", d.taken, command.MaxRows)
	}
	return p, nil
}

// Apply stages one command. The batch shows the effects of the commands before it, which may be of the same log entry.
func (d *Data) Apply(batch *storage.Batch, index uint64, cmd *commandv1.Command) (*commandv1.Response, error) {
	invariant.Check(index > 0 && index <= maxIndex, "log index %d of group %s", index, d.group)
	at, err := d.take(index, max(1, len(cmd.GetWriteRows().GetRows())))
	if err != nil {
		return nil, err
	}
	if body, ok := cmd.GetBody().(*commandv1.Command_WriteRows); ok {
		return d.writeRows(batch, at, cmd.GetHeader(), body.WriteRows)
	}
	// The others read and delete what writes of rows have left to be settled.
	if err := d.settle(batch); err != nil {
		return nil, err
	}
	switch body := cmd.GetBody().(type) {
	case *commandv1.Command_PurgeTable:
		return d.purgeTable(batch, at, ident.TableID(body.PurgeTable.GetTableId()))
	case *commandv1.Command_PurgeUser:
		return d.purgeUser(batch, body.PurgeUser)
	case *commandv1.Command_PurgeDeleted:
		return d.purgeDeleted(batch, cmd.GetHeader().GetLogFormat(), body.PurgeDeleted)
	case *commandv1.Command_MarkTime:
		return d.markTime(batch, at, cmd.GetHeader().GetNowMicros())
	case *commandv1.Command_FenceTable:
		return d.fenceTable(batch, body.FenceTable)
	case *commandv1.Command_IndexRows:
		return d.indexRows(batch, body.IndexRows)
	case *commandv1.Command_PurgeIndex:
		return d.purgeIndex(batch, body.PurgeIndex)
	case *commandv1.Command_RetainChanges:
		return d.retainChanges(batch, cmd.GetHeader().GetNowMicros(), body.RetainChanges)
	case *commandv1.Command_CommitSegment:
		return d.commitSegment(batch, cmd.GetHeader(), body.CommitSegment)
	case *commandv1.Command_ReplaceSegments:
		return d.replaceSegments(batch, cmd.GetHeader().GetNowMicros(), body.ReplaceSegments)
	default:
		return misplaced(d.group, cmd), nil
	}
}

// Finish is called after the last command of a run.
func (d *Data) Finish(batch *storage.Batch, _ uint64) error { return d.settle(batch) }

// settle puts into the batch what writes of rows have collected: one write for each scope, and the changes in one piece.
func (d *Data) settle(batch *storage.Batch) error {
	if err := d.touched.settle(d.group, batch); err != nil {
		return err
	}
	return d.log.Settle(batch)
}

// Publish is called when the batch is committed. Readers find rows in the store, so there is nothing to do.
func (d *Data) Publish() {}

// Announce hands the changes of the batch to the publisher.
func (d *Data) Announce() {
	if d.publisher != nil {
		d.publisher.Publish(d.group, d.changes)
	}
	clear(d.changes)
	d.changes = d.changes[:0]
}

// Restore reads the markers of purged tables, the fences and where the change log stands.
func (d *Data) Restore(reader storage.Reader) error {
	d.changes, d.at, d.taken, d.gaps, d.touched = nil, 0, 0, newGaps(), newTouched()
	if err := d.log.Restore(reader); err != nil {
		return err
	}
	if d.publisher != nil {
		d.publisher.Reset(d.group)
	}
	if err := d.restorePurged(reader); err != nil {
		return err
	}
	if err := d.restoreFences(reader); err != nil {
		return err
	}
	if err := d.restoreMark(reader); err != nil {
		return err
	}
	return d.restoreCold(reader)
}

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
