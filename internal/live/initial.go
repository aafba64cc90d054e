package live

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// Batch is one part of the initial rows.
type Batch struct {
	Number  int
	Rows    []byte // a JSON array of objects
	Count   int
	HasMore bool
	LastSeq uint64 // of the last row; zero when there is none
}

// initial is where a subscription stands in its initial rows.
type initial struct {
	options Initial
	// boundary is the _seq up to which initial rows are given; what is newer comes as changes.
	boundary uint64
	number   int    // of the next batch
	last     uint64 // _seq of the last row that was given
	resumed  bool   // the rows are the changes after a cursor
	// found are the next rows in order of _seq, as they were found by a scan of the table; complete says that
	// there are no others behind them.
	found    []foundRow // while a batch is made; between batches they are on the shelf
	complete bool
	scanned  bool
	shelved  bool
	space    int // bytes of what was found last, with those of found that were given since
}

// foundRow is a row that is to be given: its version and its key.
type foundRow struct {
	seq uint64
	key string // encoded primary key
}

// maxFound bounds the rows that a subscription remembers between batches; a larger table is scanned again.
const maxFound = 50_000

// begin sets the boundary and what comes before it. applied is an index that this node's state of the group has.
func (sub *Subscription) begin(options *Initial, snapshot *storage.Snapshot, applied uint64) error {
	boundary, err := changelog.Last(snapshot, sub.stream.group)
	if err != nil {
		return err
	}
	sub.position, sub.boundary = boundary, boundary
	if options == nil {
		return nil
	}
	sub.initial = &initial{options: *options, boundary: boundary}
	if options.From == nil || *options.From == 0 {
		return nil
	}
	from := *options.From
	if sub.stream.group == shard.Local && !command.SameOrigin(command.SeqIndex(from), applied) {
		return refuse(CodeCursorTooOld, "the cursor %d is of another node, and the rows of '%s' are those of each node; start again without a cursor",
			from, sub.query.scope.Table.FullName())
	}
	if from > boundary {
		return refuse(CodeCursorTooOld, "the cursor %d is none of this table's; start again without a cursor", from)
	}
	sub.initial.resumed, sub.initial.last, sub.position = true, from, from
	scope := &sub.query.scope
	return changelog.CheckCursor(snapshot, scope.Group, scope.Table.ID, scope.User, from, func(id ident.TableID) bool {
		_, exists := sub.service.config.Catalog.Current().TableByID(id)
		return exists
	})
}

// HasInitial reports whether there are initial batches to fetch.
func (sub *Subscription) HasInitial() bool { return sub.initial != nil }

// NextBatch gives the next initial rows. After the one without more, Follow is due. The error is an *Error.
func (sub *Subscription) NextBatch(ctx context.Context) (Batch, error) {
	if sub.initial == nil {
		return Batch{}, refuse(CodeBatchFetch, "the subscription has no more initial rows")
	}
	if err := ctx.Err(); err != nil {
		return Batch{}, refuse(CodeBatchFetch, "the request was given up")
	}
	if err := sub.standing(); err != nil {
		return Batch{}, err
	}
	if sub.view != nil {
		return sub.viewBatch(), nil
	}
	var batch Batch
	read := func(snapshot *storage.Snapshot) (err error) {
		if sub.initial.resumed {
			batch, err = sub.resumedBatch(snapshot)
		} else {
			batch, err = sub.scannedBatch(snapshot)
		}
		return err
	}
	look := func() error {
		if sub.cut != nil {
			return sub.cut.picture(read)
		}
		snapshot := sub.service.config.Store.NewSnapshot()
		return errors.Join(read(snapshot), snapshot.Close())
	}
	var err error
	if sub.initial.resumed {
		err = look()
	} else {
		err = sub.foundBatch(look)
	}
	if err != nil {
		return Batch{}, judge(err, CodeBatchFetch)
	}
	batch.Number = sub.initial.number
	sub.initial.number++
	return batch, nil
}

// resumedBatch gives inserts and updates since the cursor as rows, until the first command with a delete: it and everything behind
// it come as changes, so that the order is kept and the largest _seq given is a cursor at any time. What one command changed is never parted
// between rows and changes: before rows of a command end a batch, the rest of it is looked through for a delete.
func (sub *Subscription) resumedBatch(snapshot *storage.Snapshot) (Batch, error) {
	in := sub.initial
	if err := sub.renew(); err != nil {
		return Batch{}, err
	}
	w := rowWriter{batch: Batch{Rows: []byte{'['}}, limit: in.options.BatchSize}
	stopped, index, begun := false, uint64(0), w.batch
	err := sub.changes(snapshot, in.last, in.boundary, func(r *rows, kind changefeed.Kind) (bool, error) {
		if at := command.SeqIndex(r.change.Seq); at != index {
			if w.batch.HasMore {
				return false, nil
			}
			index, begun = at, w.batch
		}
		if kind == changefeed.Delete {
			stopped, w.batch = true, begun
			return false, nil
		}
		if w.batch.HasMore {
			return true, nil
		}
		_, err := w.add(sub.query.projection, r.after, r.change.Seq)
		return true, err
	})
	if err != nil {
		return Batch{}, err
	}
	batch := w.done()
	if batch.Count > 0 {
		in.last = batch.LastSeq
	}
	switch {
	case batch.HasMore:
	case stopped:
		sub.position = in.last
	default:
		sub.position = max(in.last, in.boundary)
	}
	return batch, nil
}

// rowWriter fills a batch up to its bounds.
type rowWriter struct {
	batch Batch
	limit int
}

// add appends a row, or notes that there are more and reports false.
func (w *rowWriter) add(p *Projection, row []datum.Datum, seq uint64) (bool, error) {
	if w.batch.Count >= w.limit || w.batch.Count > 0 && len(w.batch.Rows) > maxBatchBytes {
		w.batch.HasMore = true
		return false, nil
	}
	if w.batch.Count > 0 {
		w.batch.Rows = append(w.batch.Rows, ',')
	}
	var err error
	if w.batch.Rows, err = p.appendRow(w.batch.Rows, row, seq, false); err != nil {
		return false, refuse(CodeConversion, "a row could not be sent: %v", err)
	}
	w.batch.Count++
	w.batch.LastSeq = seq
	return true, nil
}

func (w *rowWriter) done() Batch {
	w.batch.Rows = append(w.batch.Rows, ']')
	return w.batch
}

// scannedBatch gives rows of the table in order of _seq. A row that was changed after the boundary is left
// out: the change comes later.
func (sub *Subscription) scannedBatch(snapshot *storage.Snapshot) (Batch, error) {
	in := sub.initial
	w := rowWriter{batch: Batch{Rows: []byte{'['}}, limit: in.options.BatchSize}
	for {
		if len(in.found) == 0 {
			if in.scanned && in.complete {
				return w.done(), nil
			}
			if err := sub.scan(snapshot); err != nil {
				return Batch{}, err
			}
			if len(in.found) == 0 {
				return w.done(), nil
			}
		}
		given, err := sub.giveFound(snapshot, &w)
		if err != nil {
			return Batch{}, err
		}
		in.found = in.found[given:]
		if w.batch.HasMore {
			return w.done(), nil
		}
	}
}

// giveFound writes found rows and returns how many of them are dealt with.
func (sub *Subscription) giveFound(snapshot *storage.Snapshot, w *rowWriter) (int, error) {
	scope := sub.query.scope
	declared := len(scope.Table.Columns)
	row := make([]datum.Datum, declared+2)
	decoder := table.NewDecoder(scope.Table, nil)
	now := sub.service.config.Clock.Now().UnixMicro()
	for i, next := range sub.initial.found {
		cursor, err := table.Open(snapshot, scope, table.Bounds{Points: [][]byte{[]byte(next.key)}},
			table.ScanOptions{Decoder: decoder, NowMicros: now})
		if err != nil {
			return 0, err
		}
		ok, err := cursor.Next(row)
		if closeErr := cursor.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return 0, err
		}
		if ok && cursor.Seq() == next.seq {
			more, err := w.add(sub.query.projection, row, next.seq)
			if err != nil {
				return 0, err
			}
			if !more {
				return i, nil
			}
		}
		sub.initial.last = next.seq
	}
	return len(sub.initial.found), nil
}

// scan finds the matching rows above the last one given and up to the boundary: the first of them in order
// of _seq, or the newest when only those are wanted.
func (sub *Subscription) scan(snapshot *storage.Snapshot) error {
	in, q := sub.initial, sub.query
	in.scanned, in.complete = true, true
	keep, newest := maxFound, false
	if in.options.LastRows != nil && in.options.From == nil {
		if keep, newest = *in.options.LastRows, true; keep == 0 {
			return nil
		}
	}
	var bounds table.Bounds
	if q.bounds != nil {
		bounds = *q.bounds
	}
	cursor, err := table.Open(snapshot, q.scope, bounds, table.ScanOptions{NowMicros: sub.service.config.Clock.Now().UnixMicro()})
	if err != nil {
		return err
	}
	kept, held := &foundHeap{newest: newest}, shelfFree
	row := make([]datum.Datum, len(q.scope.Table.Columns)+2)
	for {
		ok, err := cursor.Next(row)
		if err == nil && ok {
			if seq := cursor.Seq(); seq <= in.last || seq > in.boundary {
				continue
			}
			var matches bool
			if matches, err = q.matches(row); err == nil && matches {
				var key []byte
				if key, err = cursor.PrimaryKey(); err == nil {
					if kept.offer(foundRow{cursor.Seq(), string(key)}, keep) && !newest {
						in.complete = false
					}
					err = sub.makeRoom(kept, &keep, &held)
				}
			}
		}
		if err != nil {
			_ = cursor.Close() // the first error is the one that matters
			return fmt.Errorf("initial rows: %w", err)
		}
		if !ok {
			break
		}
	}
	in.found, in.space = kept.rows, kept.size
	slices.SortFunc(in.found, func(a, b foundRow) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
	return cursor.Close()
}

// foundHeap keeps the oldest rows, or the newest; the next to be dropped is on top.
type foundHeap struct {
	rows   []foundRow
	size   int // bytes
	newest bool
}

// Len implements heap.Interface.
func (h *foundHeap) Len() int { return len(h.rows) }

// Less implements heap.Interface.
func (h *foundHeap) Less(i, j int) bool {
	if h.newest {
		return h.rows[i].seq < h.rows[j].seq
	}
	return h.rows[i].seq > h.rows[j].seq
}

// Swap implements heap.Interface.
func (h *foundHeap) Swap(i, j int) { h.rows[i], h.rows[j] = h.rows[j], h.rows[i] }

// Push implements heap.Interface.
func (h *foundHeap) Push(row any) {
	found := row.(foundRow) //nolint:errcheck,forcetypeassert // only offer pushes
	h.rows, h.size = append(h.rows, found), h.size+sizeOf(&found)
}

// Pop implements heap.Interface.
func (h *foundHeap) Pop() any {
	last := h.rows[len(h.rows)-1]
	h.rows, h.size = h.rows[:len(h.rows)-1], h.size-sizeOf(&last)
	return last
}

// offer adds a row and reports whether one had to be dropped.
func (h *foundHeap) offer(row foundRow, keep int) bool {
	heap.Push(h, row)
	if len(h.rows) <= keep {
		return false
	}
	heap.Pop(h)
	return true
}
