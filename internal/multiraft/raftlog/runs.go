package raftlog

import "slices"

// runs is the log of one group while segments are replayed. It may have holes, since entries that were
// rewritten come later in the log than their successors.
type runs []run

// run is a stretch of entries without a hole, never empty.
type run struct {
	first uint64
	metas []entryMeta
}

func (r run) end() uint64 { return r.first + uint64(len(r.metas)) }

// cutFrom drops the entries from index on.
func (rs runs) cutFrom(index uint64) runs {
	for len(rs) > 0 {
		last := &rs[len(rs)-1]
		if last.first < index {
			if last.end() > index {
				last.metas = last.metas[:index-last.first]
			}
			return rs
		}
		rs = rs[:len(rs)-1]
	}
	return rs
}

// cutUpto drops the entries up to and including index.
func (rs runs) cutUpto(index uint64) runs {
	for len(rs) > 0 {
		first := &rs[0]
		if first.end() > index+1 {
			if first.first <= index {
				first.metas = first.metas[index+1-first.first:]
				first.first = index + 1
			}
			return rs
		}
		rs = rs[1:]
	}
	return rs
}

// add appends entries behind everything there is.
func (rs runs) add(first uint64, metas []entryMeta) runs {
	if n := len(rs); n > 0 && rs[n-1].end() == first {
		rs[n-1].metas = append(rs[n-1].metas, metas...)
		return rs
	}
	return append(rs, run{first: first, metas: slices.Clone(metas)})
}

// overlay puts entries where they belong, over what is there, and leaves the rest as it is.
func (rs runs) overlay(first uint64, metas []entryMeta) runs {
	if len(metas) == 0 {
		return rs
	}
	end := first + uint64(len(metas))
	merged := make(runs, 0, len(rs)+2)
	placed := false
	place := func() {
		if !placed {
			merged = merged.join(run{first: first, metas: slices.Clone(metas)})
			placed = true
		}
	}
	for _, r := range rs {
		if r.first < first {
			head := run{first: r.first, metas: r.metas[:min(uint64(len(r.metas)), first-r.first)]}
			head.metas = slices.Clip(head.metas)
			merged = merged.join(head)
		}
		if r.end() > first {
			place()
		}
		if r.end() > end {
			from := max(r.first, end)
			merged = merged.join(run{first: from, metas: r.metas[from-r.first:]})
		}
	}
	place()
	return merged
}

// join appends a run, merging it with the one before when nothing lies between them.
func (rs runs) join(r run) runs {
	if n := len(rs); n > 0 && rs[n-1].end() == r.first {
		rs[n-1].metas = append(rs[n-1].metas, r.metas...)
		return rs
	}
	return append(rs, r)
}
