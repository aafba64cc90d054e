package applier

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/invariant"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/restorevalue"
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
