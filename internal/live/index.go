package live

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// scopeKey says which rows a subscription can see at all.
type scopeKey struct {
	table ident.TableID
	user  ident.UserID
}

// scopeIndex holds the subscriptions of one scope: those whose condition compares a column for equality by
// the values they want, the others in a list.
type scopeIndex struct {
	catalog *catalog.Catalog // under which table was looked up; nil means that it must be
	mixed   bool             // some subscription was bound to another version of the table
	table   *schema.Table
	decoder *schema.RowDecoder
	count   int
	plain   bucket
	columns []columnIndex
	// projections are shared by all subscriptions that see the same, so that a change is encoded once for them.
	projections map[string]*Projection
}

// columnIndex finds subscriptions by the value of one column.
type columnIndex struct {
	position int
	buckets  map[string]*bucket
}

// bucket is a set of subscriptions. Each knows its place, so that leaving is cheap. What matching needs of them
// lies in the bucket itself: with 100,000 subscriptions every other place in memory is far away.
type bucket struct {
	entries []entry
}

// entry is one subscription in a bucket.
type entry struct {
	sub        *Subscription
	conn       *streamConn
	projection *Projection
	checked    *catalog.Catalog // under which the caller's account was found good
	given      uint64           // changes that were delivered
	lastMicros int64            // time of the newest of them
	after      uint64           // what is not above this was given before the subscription was live
	// exact says that the condition is the bucket's equality and nothing else, so that it need not be tested.
	exact bool
}

// place is where a subscription stands in a bucket.
type place struct {
	bucket *bucket
	at     int
}

func newScopeIndex(t *schema.Table) *scopeIndex {
	return &scopeIndex{
		table: t, decoder: schema.NewRowDecoder(t, nil), projections: make(map[string]*Projection),
	}
}

func (b *bucket) add(sub *Subscription) {
	sub.places = append(sub.places, place{b, len(b.entries)})
	b.entries = append(b.entries, entry{
		sub: sub, conn: sub.conn, projection: sub.query.projection, after: sub.position, exact: sub.query.exact,
	})
}

// remove fills the gap with the last subscription.
func (b *bucket) remove(at int) {
	last := len(b.entries) - 1
	moved := b.entries[last]
	b.entries[last] = entry{}
	b.entries = b.entries[:last]
	if at == last {
		return
	}
	b.entries[at] = moved
	for i := range moved.sub.places {
		if moved.sub.places[i].bucket == b {
			moved.sub.places[i].at = at
		}
	}
}

// add takes a subscription in, under its query.
func (x *scopeIndex) add(sub *Subscription) {
	q := sub.query
	if q.scope.Table != x.table {
		x.catalog, x.mixed = nil, true
	}
	if shared := x.projections[q.projection.identity]; shared != nil {
		q.projection = shared
	} else {
		x.projections[q.projection.identity] = q.projection
	}
	if sub.schema.identity == q.projection.identity {
		sub.schema = q.projection
	}
	x.count++
	if q.indexed < 0 {
		x.plain.add(sub)
		return
	}
	column := x.column(q.indexed)
	for _, value := range q.values {
		b := column.buckets[value]
		if b == nil {
			b = &bucket{}
			column.buckets[value] = b
		}
		b.add(sub)
	}
}

func (x *scopeIndex) column(position int) *columnIndex {
	at := slices.IndexFunc(x.columns, func(c columnIndex) bool { return c.position == position })
	if at < 0 {
		x.columns = append(x.columns, columnIndex{position: position, buckets: make(map[string]*bucket)})
		at = len(x.columns) - 1
	}
	return &x.columns[at]
}

// leavePlaces forgets where the subscription stands, but not what it was given there.
func (sub *Subscription) leavePlaces() {
	for _, p := range sub.places {
		e := &p.bucket.entries[p.at]
		sub.given += e.given
		sub.lastMicros = max(sub.lastMicros, e.lastMicros)
	}
	sub.places = nil
}

// remove takes a subscription out.
func (x *scopeIndex) remove(sub *Subscription) {
	for _, p := range sub.places {
		p.bucket.remove(p.at)
	}
	sub.places = nil
	x.count--
	if sub.query.indexed < 0 {
		return
	}
	column := x.column(sub.query.indexed)
	for _, value := range sub.query.values {
		if b := column.buckets[value]; b != nil && len(b.entries) == 0 {
			delete(column.buckets, value)
		}
	}
}

// visit is what find says about a bucket.
type visit uint8

const (
	tested visit = iota // the conditions have to be tested
	// certain: the value of the bucket's column is the bucket's in every row of the change, so those whose
	// condition is just that see the change as what it is.
	certain
)

// find gives the buckets with the subscriptions that a change may concern. Only in those that have to be tested may
// a subscription stand twice.
func (x *scopeIndex) find(r *rows, key *[]byte, give func(*bucket, visit)) {
	if len(x.plain.entries) > 0 {
		give(&x.plain, certain)
	}
	for i := range x.columns {
		column := &x.columns[i]
		before, after := column.lookup(r.before, key), column.lookup(r.after, key)
		switch {
		case r.before != nil && r.after != nil && before != after:
			for _, b := range []*bucket{after, before} {
				if b != nil {
					give(b, tested)
				}
			}
		case after != nil:
			give(after, certain)
		case before != nil:
			give(before, certain)
		}
	}
}

// lookup finds the bucket of a row's value; nil when there is none. The memory of key is used.
func (c *columnIndex) lookup(row []datum.Datum, key *[]byte) *bucket {
	if row == nil || row[c.position].IsNull() {
		return nil
	}
	*key = datum.AppendKey((*key)[:0], row[c.position])
	return c.buckets[string(*key)]
}

// all lists the subscriptions once each.
func (x *scopeIndex) all() []*Subscription {
	list := make([]*Subscription, 0, x.count)
	for i := range x.plain.entries {
		list = append(list, x.plain.entries[i].sub)
	}
	for i := range x.columns {
		for _, b := range x.columns[i].buckets {
			for at := range b.entries {
				if first := b.entries[at].sub.places[0]; first.bucket == b && first.at == at {
					list = append(list, b.entries[at].sub)
				}
			}
		}
	}
	return list
}
