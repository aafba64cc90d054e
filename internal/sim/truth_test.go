package sim

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// truth is what clients know: the newest version of each row that was acknowledged or read.
type truth struct {
	floor    map[cell]version
	counters map[cell]*counterTruth
	gone     map[uint64]bool // tables that were dropped
}

// version is one row version as a client knows it.
type version struct {
	seq     uint64
	deleted bool
	value   string
}

// counterTruth has every request that would add one to a counter.
type counterTruth struct {
	acknowledged int
	requests     []ident.RequestID
}

func newTruth() *truth {
	return &truth{floor: make(map[cell]version), counters: make(map[cell]*counterTruth), gone: make(map[uint64]bool)}
}

// cell is one row of one table.
type cell struct {
	table uint64
	group shard.GroupID
	user  string
	key   string
	at    ident.ReplicaID // which alone has it; zero for a row that is replicated
}

// vanished reports whether there is nothing where a row was that was deleted since, or that is known to be deleted. Deletions of a node's
// own rows leave no trace but in its log.
func (w *world) vanished(c cell, got, known version) bool {
	if c.at == 0 || got != (version{}) {
		return false
	}
	for _, change := range slices.Backward(w.oracle.local(c.at).model.changes) {
		if change.name == (rowName{c.table, c.user, c.key}) {
			return change.kind == changefeed.Delete && change.seq >= known.seq
		}
	}
	return false
}

// learn raises what is known of a row.
func (t *truth) learn(c cell, v version) {
	if v.seq > t.floor[c].seq {
		t.floor[c] = v
	}
}

// rowText makes a value that says whose it is.
func rowText(c cell, value string) string { return c.user + "/" + c.key + "=" + value }

// write is one row of a command.
func (c cell) write(value string, deleted bool, expect commandv1.Expect, seq uint64) *commandv1.RowWrite {
	return &commandv1.RowWrite{
		TableId: c.table, User: c.user, PrimaryKey: []byte(c.key), Row: []byte(rowText(c, value)), Deleted: deleted,
		Expect: expect, ExpectSeq: seq,
	}
}

// write replicates rows as one statement and learns what an acknowledgement says.
func (s *session) write(cells []cell, rows []*commandv1.RowWrite, scopes ...*commandv1.ScopeUnchanged) result {
	w := s.a.w
	group := w.mutant.route(w, cells[0])
	r := s.execute(group, &commandv1.Command{
		Header: &commandv1.Header{Actor: cells[0].user},
		Body:   &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{Rows: rows, Scopes: scopes}},
	})
	if r.outcome == succeeded {
		for i, row := range rows {
			w.store.learn(cells[i], version{w.oracle.of(s.n, group).model.seqs[r.id] + uint64(i), row.GetDeleted(), string(row.GetRow())})
		}
	}
	return r
}

// read reads rows of one group over one snapshot, behind a barrier. No row may be older than what was
// acknowledged, or shown to another reader, before the read began. Index is the applied index of the view.
func (s *session) read(cells ...cell) (found []version, index uint64, ok bool) {
	w := s.a.w
	floors := make([]version, len(cells))
	for i, c := range cells {
		floors[i] = w.store.floor[c]
	}
	group := cells[0].group
	if !s.barrier(group) {
		return nil, 0, false
	}
	s.a.w.mutant.reads(s, cells[0])
	index = s.n.applied(group)
	view := s.n.store.NewSnapshot()
	defer func() { _ = view.Close() }() // it was only read
	for i, c := range cells {
		v := w.get(view, c)
		found = append(found, v)
		if !w.store.gone[c.table] {
			if floors[i].seq > 0 {
				w.saw(ruleReads)
			}
			if v.seq < floors[i].seq && !w.vanished(c, v, floors[i]) {
				w.fail("node %d reads %v as %+v at index %d, but %+v was known before the read began", s.n.id, c, v, index, floors[i])
			}
			if v.seq == floors[i].seq && v != floors[i] {
				w.fail("node %d reads %v as %+v at index %d, but this version is %+v", s.n.id, c, v, index, floors[i])
			}
			w.store.learn(c, v)
		}
	}
	w.stats.reads++
	return found, index, true
}

func (w *world) get(view storage.Reader, c cell) version {
	raw, ok, err := view.Get(keys.Row(c.group, ident.TableID(c.table), ident.UserID(c.user), []byte(c.key)))
	if err != nil {
		w.fail("read %v: %v", c, err)
	}
	if !ok {
		return version{}
	}
	seq, deleted, row, err := rowvalue.Decode(raw)
	if err != nil {
		w.fail("read %v: %v", c, err)
	}
	return version{seq, deleted, string(row)}
}
