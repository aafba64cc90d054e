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

// bucket is a set of subscriptions. Each knows its place, so that leaving is cheap.
type bucket struct {
	subs []*Subscription
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
	sub.places = append(sub.places, place{b, len(b.subs)})
	b.subs = append(b.subs, sub)
}

// remove fills the gap with the last subscription.
func (b *bucket) remove(at int) {
	last := len(b.subs) - 1
	moved := b.subs[last]
	b.subs[last] = nil
	b.subs = b.subs[:last]
	if at == last {
		return
	}
	b.subs[at] = moved
	for i := range moved.places {
		if moved.places[i].bucket == b {
			moved.places[i].at = at
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
		if b := column.buckets[value]; b != nil && len(b.subs) == 0 {
			delete(column.buckets, value)
		}
	}
}

// find gives the subscriptions that a change may concern; one may be given twice.
func (x *scopeIndex) find(r *rows, key []byte, give func(*Subscription)) []byte {
	for _, sub := range x.plain.subs {
		give(sub)
	}
	for i := range x.columns {
		column := &x.columns[i]
		for _, row := range [][]datum.Datum{r.after, r.before} {
			if row == nil || row[column.position].IsNull() {
				continue
			}
			key = datum.AppendKey(key[:0], row[column.position])
			if b := column.buckets[string(key)]; b != nil {
				for _, sub := range b.subs {
					give(sub)
				}
			}
		}
	}
	return key
}

// all lists the subscriptions once each.
func (x *scopeIndex) all() []*Subscription {
	list := slices.Clone(x.plain.subs)
	for i := range x.columns {
		for _, b := range x.columns[i].buckets {
			for at, sub := range b.subs {
				if sub.places[0].bucket == b && sub.places[0].at == at {
					list = append(list, sub)
				}
			}
		}
	}
	return list
}
