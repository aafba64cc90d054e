package backup

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

// groupWriter makes the chunks of one group, or takes them over.
type groupWriter struct {
	*writer
	ctx     context.Context //nolint:containedctx // it lives as long as one call
	cut     *cutter
	entry   Group
	stamps  *stamper
	begins  map[string]*Chunk // of the earlier backup, by the place behind which they begin
	changed *changed          // what was written since the earlier backup

	part    Part
	start   *Place // behind which the chunk at hand begins; nil is the begin of the part
	last    Place  // of the newest record
	ending  bool   // the part is over: the chunk at hand reaches to its end
	asked   bool   // nothing can be taken over at this place
	digests map[ident.TableID]*Digest
}

// group writes the records of one group. Its chunks are its own: another group's rows do not move its borders.
func (w *writer) group(ctx context.Context, view storage.Reader, group shard.GroupID) error {
	applied, err := w.source.Applied(view, group)
	if err != nil {
		return err
	}
	g := &groupWriter{
		writer: w, ctx: ctx, entry: Group{Group: group, Name: group.String(), Applied: applied}, digests: map[ident.TableID]*Digest{},
		stamps: &stamper{view, group, w}, begins: startsOf(w.earlier, group), changed: &changed{view: view, group: group, since: appliedIn(w.earlier, group)}, part: Hot,
	}
	g.cut = &cutter{target: cmp.Or(w.source.ChunkBytes, targetChunkBytes), full: g.full}
	if group == shard.Meta {
		g.part = ""
		if err = catalogRecords(view, g.cut.add); err == nil {
			err = g.cut.flush()
		}
	} else {
		g.cut.counted = g.counted
		err = w.source.Rows.Rows(ctx, view, group, Walk{Visit: g.visit, Skip: g.skip, Ended: g.ended})
	}
	w.sending.Wait()
	if err = errors.Join(err, w.failure()); err != nil {
		return err
	}
	if group == shard.Meta {
		w.manifest.Catalog = g.entry
	} else {
		w.manifest.Groups = append(w.manifest.Groups, g.entry)
	}
	return nil
}

func (g *groupWriter) visit(r *Record) error {
	if _, ok := g.tables[r.Table]; !ok {
		return nil // it was dropped, its rows are still to be removed
	}
	return g.cut.add(r)
}

// counted notes a record of the chunk at hand.
func (g *groupWriter) counted(r *Record, encoded []byte) {
	digestOf(g.digests, r.Table).add(r.Deleted, encoded)
	g.last.Table, g.last.User, g.last.Key = r.Table, append(g.last.User[:0], r.User...), append(g.last.Key[:0], r.Key...)
}

// full sends a chunk.
func (g *groupWriter) full(run []byte, records int64) error {
	content, err := tableOf(run)
	if err != nil {
		return err
	}
	chunk := &Chunk{SHA256: sumOf(content), Bytes: int64(len(content)), Records: records}
	if g.part != "" {
		if err := g.describe(chunk); err != nil {
			return err
		}
	}
	g.entry.Chunks = append(g.entry.Chunks, chunk)
	return g.send(g.ctx, chunk, content)
}

// describe says which rows a chunk holds, and makes the next one begin behind it.
func (g *groupWriter) describe(chunk *Chunk) (err error) {
	chunk.Part = g.part
	if !g.ending {
		chunk.End = &Place{Table: g.last.Table, User: slices.Clone(g.last.User), Key: slices.Clone(g.last.Key)}
	}
	for _, id := range slices.Sorted(maps.Keys(g.digests)) {
		chunk.Tables = append(chunk.Tables, ChunkTable{ID: id, Digest: *g.digests[id]})
		g.tables[id].join(*g.digests[id])
	}
	if chunk.Coarse, chunk.Fine, err = g.stamps.stamps(chunk.Part, g.start, chunk.End, true); err != nil {
		return err
	}
	g.start, g.asked = chunk.End, false
	clear(g.digests)
	return nil
}

// ended implements Walk.Ended.
func (g *groupWriter) ended(part Part) error {
	g.ending = true
	defer func() { g.ending = false }()
	if err := g.cut.flush(); err != nil {
		return err
	}
	if part == Hot {
		g.part, g.start, g.asked = Cold, nil, false
	}
	return nil
}

// skip implements Walk.Skip: between two chunks it takes over those of the earlier backup that follow.
func (g *groupWriter) skip(Part) (to *Place, over bool, err error) {
	if g.cut.records > 0 || g.asked {
		return nil, false, nil
	}
	for {
		chunk, err := g.unchanged(g.begins[startKey(g.part, g.start)])
		if err != nil {
			return nil, false, err
		}
		if chunk == nil {
			g.asked = true
			return to, false, nil
		}
		g.take(chunk)
		if chunk.End == nil {
			return nil, true, nil
		}
		g.start, to = chunk.End, chunk.End
	}
}

// unchanged returns a chunk of the earlier backup when it is there and holds what would be read now, else nil.
func (g *groupWriter) unchanged(chunk *Chunk) (*Chunk, error) {
	if chunk == nil {
		return nil, nil
	}
	for _, t := range chunk.Tables {
		if _, ok := g.tables[t.ID]; !ok {
			return nil, nil // it was dropped
		}
	}
	there, err := g.isThere(chunk)
	if err != nil || !there {
		return nil, err
	}
	coarse, _, err := g.stamps.stamps(chunk.Part, g.start, chunk.End, false)
	if err != nil || coarse == chunk.Coarse {
		return chunk, err
	}
	if chunk.Fine == "" {
		return nil, nil
	}
	same, err := g.same(chunk)
	if err != nil || !same {
		return nil, err
	}
	taken := *chunk
	taken.Coarse = coarse
	return &taken, nil
}

// same looks closer at a chunk into whose scopes something was written.
func (g *groupWriter) same(chunk *Chunk) (bool, error) {
	_, fine, err := g.stamps.stamps(chunk.Part, g.start, chunk.End, true)
	if err != nil || fine != chunk.Fine || chunk.Part == Cold {
		return fine == chunk.Fine, err
	}
	written, err := g.changed.between(g.start, chunk.End)
	return !written, err
}

// isThere reports whether the object of a chunk is, with the size that it had.
func (g *groupWriter) isThere(chunk *Chunk) (bool, error) {
	size, known := g.known[chunk.SHA256]
	if known || len(g.known) < maxKnown {
		return known && size == chunk.StoredBytes, nil
	}
	info, err := g.store.Stat(g.ctx, chunkKey(chunk.SHA256))
	if errors.Is(err, objstore.ErrNotFound) {
		return false, nil
	}
	return err == nil && info.Size == chunk.StoredBytes, err
}

// take takes a chunk over.
func (g *groupWriter) take(chunk *Chunk) {
	g.entry.Chunks = append(g.entry.Chunks, chunk)
	for _, t := range chunk.Tables {
		g.tables[t.ID].join(t.Digest)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.totals.Bytes += chunk.Bytes
	g.totals.UnreadBytes += chunk.Bytes
	g.totals.Chunks++
	if !g.taken[chunk.SHA256] {
		g.taken[chunk.SHA256] = true
		g.totals.StoredBytes += chunk.StoredBytes
	}
}
