package raftlog

import (
	"fmt"
	"slices"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// op is one section on its way into a record, and what follows in memory once it is durable.
type op struct {
	kind    sectionKind
	group   *Group // nil for sectionFree
	hard    HardState
	marker  Marker
	oldest  uint64
	entries []*raftpb.Entry
	from    []entryMeta // sectionRewrite: where the entries were
	metas   []entryMeta // where the entries are now, once encoded
	metaAt  int         // start of metas in writer.metas while encoding
}

func (o *op) bytes() int64 {
	switch o.kind {
	case sectionHard:
		return hardSectionBytes
	case sectionReset, sectionMarker:
		return markerSectionBytes
	case sectionFree:
		return freeSectionBytes
	case sectionEntries, sectionRewrite:
	}
	total := int64(entriesSectionBytes)
	for _, entry := range o.entries {
		total += entryBytes(entry)
	}
	return total
}

func totalBytes(ops []op) int64 {
	total := int64(0)
	for i := range ops {
		total += ops[i].bytes()
	}
	return total
}

// updateBytes is about what an update takes in a record.
func updateBytes(u *Update) int64 {
	total := int64(hardSectionBytes + markerSectionBytes + entriesSectionBytes)
	for _, entry := range u.Entries {
		total += entryBytes(entry)
	}
	return total
}

// undo restores a group when a later update of the same call is refused.
type undo struct {
	group  *Group
	before ahead
}

// stageRequest checks the updates of a call one after the other and appends their ops. When one is refused, the
// call leaves no trace. It needs state.
func (l *Log) stageRequest(r *request, ops []op) []op {
	w := &l.writer
	mark := len(ops)
	w.undo = w.undo[:0]
	for i := range r.updates {
		var err error
		if ops, err = l.stage(&r.updates[i], ops); err != nil {
			for _, v := range slices.Backward(w.undo) {
				v.group.ahead = v.before
			}
			r.err = fmt.Errorf("group %v: %w", r.updates[i].Group, err)
			clear(ops[mark:])
			return ops[:mark]
		}
	}
	return ops
}

func (l *Log) stage(u *Update, ops []op) ([]op, error) {
	g := l.Group(u.Group)
	next := g.ahead
	mark := len(ops)
	if u.Reset != nil {
		next.marker, next.last, next.touched = *u.Reset, u.Reset.Index, 0
		next.hard.Commit = max(next.hard.Commit, u.Reset.Index)
		ops = append(ops, op{kind: sectionReset, group: g, marker: *u.Reset})
	}
	entries, err := l.checkEntries(g, u, &next)
	if err != nil {
		return ops[:mark], err
	}
	if len(entries) > 0 {
		next.last = entries[len(entries)-1].GetIndex()
		next.touched = min(next.touched, entries[0].GetIndex())
		ops = append(ops, op{kind: sectionEntries, group: g, entries: entries})
	}
	if u.Hard != nil {
		if err := checkHard(next.hard, *u.Hard); err != nil {
			return ops[:mark], err
		}
		hard := *u.Hard
		hard.Commit = max(hard.Commit, next.hard.Commit)
		if hard != g.ahead.hard {
			ops = append(ops, op{kind: sectionHard, group: g, hard: hard})
		}
		next.hard = hard
	}
	if next.hard.Commit > next.last {
		return ops[:mark], fmt.Errorf("%w: commit index %d is behind the last entry %d",
			ErrInvalidUpdate, next.hard.Commit, next.last)
	}
	l.writer.undo = append(l.writer.undo, undo{group: g, before: g.ahead})
	g.ahead = next
	return ops, nil
}

// checkEntries returns the entries of an update that lie behind the marker.
func (l *Log) checkEntries(g *Group, u *Update, next *ahead) ([]*raftpb.Entry, error) {
	entries := u.Entries
	for i, entry := range entries {
		switch {
		case entry == nil:
			return nil, fmt.Errorf("%w: entry %d of the update is nil", ErrInvalidUpdate, i)
		case int64(len(entry.GetData())) > l.cfg.MaxEntryBytes:
			return nil, fmt.Errorf("%w: entry %d has %d bytes, at most %d are allowed",
				ErrEntryTooLarge, entry.GetIndex(), len(entry.GetData()), l.cfg.MaxEntryBytes)
		case i > 0 && entry.GetIndex() != entries[i-1].GetIndex()+1:
			return nil, fmt.Errorf("%w: entry %d follows entry %d", ErrInvalidUpdate,
				entry.GetIndex(), entries[i-1].GetIndex())
		case i > 0 && entry.GetTerm() < entries[i-1].GetTerm():
			return nil, fmt.Errorf("%w: entry %d has term %d after term %d", ErrInvalidUpdate,
				entry.GetIndex(), entry.GetTerm(), entries[i-1].GetTerm())
		}
	}
	if len(entries) > 0 && entries[0].GetIndex() <= next.marker.Index {
		skip := min(next.marker.Index-entries[0].GetIndex()+1, uint64(len(entries)))
		entries = entries[skip:]
	}
	if len(entries) == 0 {
		return nil, nil
	}
	if first := entries[0].GetIndex(); first > next.last+1 {
		return nil, fmt.Errorf("%w: entry %d leaves a gap after entry %d", ErrInvalidUpdate, first, next.last)
	}
	return entries, checkCommitted(g, entries, next)
}

// checkCommitted refuses to replace a committed entry by one of another term. What an earlier call of the same
// record has staged is not looked at.
func checkCommitted(g *Group, entries []*raftpb.Entry, next *ahead) error {
	for _, entry := range entries {
		index := entry.GetIndex()
		if index > next.hard.Commit || index >= next.touched || index > g.last() {
			return nil
		}
		if term := g.term(index); term != entry.GetTerm() {
			return fmt.Errorf("%w: committed entry %d of term %d would be replaced by one of term %d",
				ErrInvalidUpdate, index, term, entry.GetTerm())
		}
	}
	return nil
}

// checkHard refuses what would break a promise made to other replicas.
func checkHard(before, after HardState) error {
	switch {
	case after.Term < before.Term:
		return fmt.Errorf("%w: term would go back from %d to %d", ErrInvalidUpdate, before.Term, after.Term)
	case after.Term == before.Term && before.Vote != 0 && after.Vote != before.Vote:
		return fmt.Errorf("%w: vote in term %d would change from %d to %d", ErrInvalidUpdate,
			after.Term, before.Vote, after.Vote)
	}
	return nil
}

// raiseCommits applies updates that do no more than raise the commit index of durable entries, in memory; a
// later record carries them. It reports false, and changes nothing, when there is more to them.
func (l *Log) raiseCommits(updates []Update) bool {
	l.mu.Lock()
	err := l.unusable()
	l.mu.Unlock()
	if err != nil {
		return false
	}
	l.state.Lock()
	defer l.state.Unlock()
	for i := range updates {
		u := &updates[i]
		if u.Reset != nil || len(u.Entries) > 0 || u.Hard == nil {
			return false
		}
		g := l.Group(u.Group)
		if u.Hard.Term != g.ahead.hard.Term || u.Hard.Vote != g.ahead.hard.Vote ||
			u.Hard.Commit > g.last() || u.Hard.Commit >= g.ahead.touched {
			return false
		}
	}
	for i := range updates {
		g, commit := l.Group(updates[i].Group), updates[i].Hard.Commit
		g.ahead.hard.Commit = max(g.ahead.hard.Commit, commit)
		g.mu.Lock()
		if commit > g.hard.Commit {
			g.hard.Commit = commit
			l.markDirty(g, &g.dirtyHard)
		}
		g.mu.Unlock()
	}
	return true
}

// Truncate drops the entries of a group up to and including upto, which becomes the marker with its term. It
// takes effect at once; the next record, or the one that frees a segment, makes it durable, so that a
// crash may bring dropped entries back, whole and with the marker they had. A marker at or above upto makes it a no-op.
func (l *Log) Truncate(group shard.GroupID, upto uint64) error {
	g := l.Group(group)
	l.mu.Lock()
	err := l.unusable()
	l.mu.Unlock()
	if err != nil {
		return err
	}
	l.state.Lock()
	if upto < g.ahead.touched {
		defer l.state.Unlock()
		return l.truncate(g, upto)
	}
	l.state.Unlock()
	// A write in flight replaces entries that are to be dropped: wait for its outcome.
	if err := l.takeTurn(); err != nil {
		return err
	}
	defer l.giveTurn()
	l.state.Lock()
	defer l.state.Unlock()
	return l.truncate(g, upto)
}

// truncate needs state.
func (l *Log) truncate(g *Group, upto uint64) error {
	if upto <= g.marker.Index {
		return nil
	}
	if upto > g.last() {
		return fmt.Errorf("%w: group %v: truncation up to %d is behind the last entry %d",
			ErrInvalidUpdate, g.id, upto, g.last())
	}
	marker := Marker{Index: upto, Term: g.term(upto)}
	g.mu.Lock()
	l.dropPrefix(g, marker)
	g.mu.Unlock()
	g.ahead.marker = marker
	g.ahead.hard.Commit = max(g.ahead.hard.Commit, upto)
	l.markDirty(g, &g.dirtyMarker)
	l.wanted.Store(true)
	l.tendLater()
	return nil
}

// markDirty needs state.
func (l *Log) markDirty(g *Group, flag *bool) {
	if !g.dirtyHard && !g.dirtyMarker {
		l.dirty = append(l.dirty, g)
	}
	*flag = true
}

// carryBytes is how much of a record may be what was pending in memory.
func (l *Log) carryBytes() int64 { return capacityOf(l.cfg.SegmentBytes) / 4 }

// carriesAll reports whether one record carries all that is pending in memory. It needs state.
func (l *Log) carriesAll() bool {
	return int64(len(l.dirty))*(hardSectionBytes+markerSectionBytes) <= l.carryBytes()
}

// carry appends what is pending in memory to a record, as far as it takes no more than a quarter of it.
// It needs state.
func (l *Log) carry(ops []op) []op {
	room := l.carryBytes()
	taken := 0
	for _, g := range l.dirty {
		if room < hardSectionBytes+markerSectionBytes {
			break
		}
		if g.dirtyHard {
			ops = append(ops, op{kind: sectionHard, group: g, hard: g.ahead.hard})
			room -= hardSectionBytes
		}
		if g.dirtyMarker {
			ops = append(ops, op{kind: sectionMarker, group: g, marker: g.ahead.marker})
			room -= markerSectionBytes
		}
		g.dirtyHard, g.dirtyMarker = false, false
		taken++
	}
	n := copy(l.dirty, l.dirty[taken:])
	clear(l.dirty[n:])
	l.dirty = l.dirty[:n]
	return ops
}

// abandon undoes the staging of ops that were not written. It needs state.
func (l *Log) abandon(ops []op) {
	for i := range ops {
		g := ops[i].group
		if g == nil {
			continue
		}
		g.ahead = ahead{hard: g.hard, marker: g.marker, last: g.last(), touched: noIndex}
		switch ops[i].kind {
		case sectionHard:
			l.markDirty(g, &g.dirtyHard)
		case sectionMarker:
			l.markDirty(g, &g.dirtyMarker)
		case sectionReset, sectionEntries, sectionRewrite, sectionFree:
		}
	}
}
