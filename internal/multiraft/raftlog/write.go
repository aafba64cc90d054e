package raftlog

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
)

// writer is the end of the log. Who has the turn owns it.
type writer struct {
	active *segment
	offset int64  // where the next record starts, aligned
	tail   []byte // what the page of offset holds before offset
	number uint64 // of the next record
	oldest uint64 // the lowest sequence that is part of the log, durably
	// cleaning is set while a record moves live parts: a segment it starts is no reason to clean again.
	cleaning bool

	buf   []byte
	ops   []op
	undo  []undo
	metas []entryMeta
}

// keepBufferBytes is the largest write buffer that is kept for the next record.
const keepBufferBytes = 8 << 20

// writeBatch writes the requests as one record, or as few as they need. It sets the error of each.
func (l *Log) writeBatch(batch []*request) {
	w := &l.writer
	sync := slices.ContainsFunc(batch, func(r *request) bool { return r.sync })
	l.state.Lock()
	if sync && !l.carriesAll() {
		l.state.Unlock()
		if err := l.writePending(); err != nil {
			failAll(batch, err)
			return
		}
		l.state.Lock()
	}
	ops := l.carry(w.ops[:0])
	carried := len(ops)
	for _, r := range batch {
		ops = l.stageRequest(r, ops)
	}
	l.state.Unlock()

	var err error
	writes := len(ops) > carried || sync && carried > 0
	if writes {
		err = l.writeOps(ops, false)
	}
	l.state.Lock()
	if err != nil || !writes {
		l.abandon(ops)
	}
	for i := range ops {
		if ops[i].group != nil {
			ops[i].group.ahead.touched = noIndex
		}
	}
	l.state.Unlock()
	clear(ops)
	w.ops = ops[:0]
	for _, r := range batch {
		if r.err == nil {
			r.err = err
		}
	}
}

// writePending writes what is kept in memory only. The caller has the turn.
func (l *Log) writePending() error {
	for {
		l.state.Lock()
		ops := l.carry(nil)
		l.state.Unlock()
		if len(ops) == 0 {
			return nil
		}
		if err := l.writeOps(ops, false); err != nil {
			l.state.Lock()
			l.abandon(ops)
			l.state.Unlock()
			return err
		}
	}
}

// writeOps makes ops durable and then visible: in one record when they fit a segment. With reserved, the room at
// the end of a segment may be used that is kept for freeing others.
func (l *Log) writeOps(ops []op, reserved bool) error {
	if size := totalBytes(ops); !l.fits(size, reserved) {
		if size > capacityOf(l.cfg.SegmentBytes) {
			return l.writeSplit(ops)
		}
		if err := l.roll(); err != nil {
			return err
		}
	}
	return l.writeRecord(ops)
}

// fits reports whether a record with a payload of that size has room in the active segment.
func (l *Log) fits(size int64, reserved bool) bool {
	w := &l.writer
	end := w.active.header.size
	if !reserved {
		end -= reserveBytes
	}
	return w.offset+recordHeaderBytes+size <= end
}

// roll starts the next segment. Every record of the one before is synced by then.
func (l *Log) roll() error {
	w := &l.writer
	next := w.active.header.sequence + 1
	if next > 1<<32-1 {
		return l.fail(errors.New("raftlog: segment numbers are used up"))
	}
	header := segmentHeader{store: w.active.header.store, sequence: next, oldest: w.oldest, number: w.number}
	full := w.active
	if err := l.newSegment(header); err != nil {
		return err
	}
	if err := full.closeOut(); err != nil {
		return l.fail(err)
	}
	l.cfg.Logger.Debug("raft log started a segment", slog.Uint64("segment", next))
	return nil
}

// writeSplit writes ops that no single record can hold, in order, in records that each leave every group in
// a valid state: a term and vote go before the entries they come with, the commit index goes after them.
func (l *Log) writeSplit(ops []op) error {
	limit := capacityOf(l.cfg.SegmentBytes)
	var part []op
	room := limit
	flush := func() error {
		if len(part) == 0 {
			return nil
		}
		err := l.writeOps(part, false)
		part, room = part[:0], limit
		return err
	}
	for _, whole := range l.hardFirst(ops) {
		rest := whole
		for {
			var head op
			var more bool
			head, rest, more = rest.cut(room)
			if size := head.bytes(); head.kind != 0 && size <= room {
				part = append(part, head)
				room -= size
			}
			if !more {
				break
			}
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// hardFirst puts in front of each run of resets and entries that a hard state follows a copy of it whose
// commit index is the one that is already durable.
func (l *Log) hardFirst(ops []op) []op {
	ordered := make([]op, 0, 2*len(ops))
	for i := 0; i < len(ops); {
		end := i
		for end < len(ops) && ops[end].group == ops[i].group &&
			(ops[end].kind == sectionReset || ops[end].kind == sectionEntries) {
			end++
		}
		if end > i && end < len(ops) && ops[end].group == ops[i].group && ops[end].kind == sectionHard {
			early := ops[end]
			early.hard.Commit = early.group.HardState().Commit
			ordered = append(ordered, early)
		}
		end = max(end, i+1)
		ordered = append(ordered, ops[i:end]...)
		i = end
	}
	return ordered
}

// cut splits an op so that head takes at most room bytes. head has no kind when nothing of it fits; more
// reports whether rest has to be written still.
func (o op) cut(room int64) (head, rest op, more bool) {
	if o.bytes() <= room {
		return o, op{}, false
	}
	if o.kind != sectionEntries && o.kind != sectionRewrite {
		return op{}, o, true
	}
	n := 0
	for left := room - entriesSectionBytes; n < len(o.entries); n++ {
		if left -= entryBytes(o.entries[n]); left < 0 {
			break
		}
	}
	if n == 0 {
		return op{}, o, true
	}
	head, rest = o, o
	head.entries, rest.entries = o.entries[:n], o.entries[n:]
	if o.kind == sectionRewrite {
		head.from, rest.from = o.from[:n], o.from[n:]
	}
	return head, rest, true
}

// writeRecord writes one record at the end of the active segment, syncs it and publishes it.
func (l *Log) writeRecord(ops []op) error {
	w := &l.writer
	start := w.offset &^ (pageBytes - 1)
	room := alignPage(int64(len(w.tail)) + recordHeaderBytes + totalBytes(ops))
	buf := append(l.writeBuffer(room), w.tail...)
	at := len(buf)
	buf = l.encodeOps(append(buf, make([]byte, recordHeaderBytes)...), ops, start)
	position := place{store: w.active.header.store, sequence: w.active.header.sequence, offset: w.offset}
	sealRecord(buf[at:], position, w.number)
	next := alignRecord(start + int64(len(buf)))
	length := int64(len(buf) - at)
	// Whole pages are written: the kernel need not read the old page first, and nothing stale is left
	// between this record and the end of its page.
	buf = append(buf, make([]byte, alignPage(int64(len(buf)))-int64(len(buf)))...)
	if end := start + int64(len(buf)); end > w.active.header.size || start+int64(at) != w.offset || int64(len(buf)) != room {
		return l.fail(fmt.Errorf("raftlog: record at %d of segment %d would end at %d: the program is wrong",
			w.offset, position.sequence, end))
	}
	// gofail: var logWrite struct{}
	if _, err := w.active.out.WriteAt(buf, start); err != nil {
		return l.fail(fmt.Errorf("raftlog: write %s at %d: %w", w.active.path, start, err))
	}
	// gofail: var logSync struct{}
	if err := w.active.out.SyncData(); err != nil {
		return l.fail(fmt.Errorf("raftlog: sync %s: %w", w.active.path, err))
	}
	// gofail: var logSynced struct{}
	w.offset = next
	w.tail = append(w.tail[:0], buf[(next&^(pageBytes-1))-start:next-start]...)
	w.number++
	if cap(buf) > keepBufferBytes {
		w.buf = nil
	}
	l.syncs.Add(1)
	l.records.Add(1)
	l.appended.Add(uint64(length))
	l.publish(ops)
	return nil
}

// encodeOps appends the payload; base is the position of buf[0] in the file.
func (l *Log) encodeOps(buf []byte, ops []op, base int64) []byte {
	w := &l.writer
	sequence := uint32(w.active.header.sequence)
	w.metas = w.metas[:0]
	for i := range ops {
		o := &ops[i]
		switch o.kind {
		case sectionHard:
			buf = appendHard(buf, o.group.id, o.hard)
		case sectionReset, sectionMarker:
			buf = appendMarker(buf, o.kind, o.group.id, o.marker)
		case sectionFree:
			buf = appendFree(buf, o.oldest)
		case sectionEntries, sectionRewrite:
			buf = appendEntriesHeader(buf, o.kind, o.group.id, o.entries[0].GetIndex(), len(o.entries))
			o.metaAt = len(w.metas)
			for _, entry := range o.entries {
				at := base + int64(len(buf))
				buf = appendEntry(buf, o.group.id, entry)
				w.metas = append(w.metas, entryMeta{
					term: entry.GetTerm(), segment: sequence, offset: uint32(at), size: uint32(entryBytes(entry)),
				})
			}
		}
	}
	for i := range ops {
		if o := &ops[i]; len(o.entries) > 0 {
			o.metas = w.metas[o.metaAt : o.metaAt+len(o.entries)]
		}
	}
	return buf
}
