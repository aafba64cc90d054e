package live

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
)

// scopeKey says which rows a subscription can see at all.
type scopeKey struct {
	table ident.TableID
	user  ident.UserID
}

// scopeIndex holds the subscriptions of one scope: those whose condition compares a column for equality by
// the values they want, the others in two lists.
type scopeIndex struct {
	catalog *catalog.Catalog // under which table was looked up; nil means that it must be
	mixed   bool             // some subscription was bound to another version of the table
	table   *schema.Table
	decoder *schema.RowDecoder
	count   int
	// plain are those that see everything, filtered those whose condition gives no value to find them by.
	plain, filtered bucket
	columns         []columnIndex
	// projections are shared by all subscriptions that see the same, so that a change is encoded once for them.
	projections map[string]*Projection
	// eval is that of all conditions which depend on the row alone. They are tested one after the other.
	eval *expr.EvalContext
}

// columnIndex finds subscriptions by the value of one column.
type columnIndex struct {
	position int
	buckets  bucketTable
}

func newScopeIndex(t *schema.Table) *scopeIndex {
	return &scopeIndex{
		table: t, decoder: schema.NewRowDecoder(t, nil), projections: make(map[string]*Projection),
	}
}

// add takes a subscription in, under its query.
func (x *scopeIndex) add(sub *Subscription) {
	q := sub.query
	q.bounds = nil // only initial rows are found by them
	if q.eval != nil && expr.DependsOnRowAlone(q.condition) {
		if x.eval == nil {
			x.eval = expr.NewEvalContext(&expr.Env{})
		}
		q.eval = x.eval
	}
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
	switch {
	case q.indexed >= 0:
	case q.exact:
		x.plain.add(sub)
		return
	default:
		x.filtered.add(sub)
		return
	}
	column := x.column(q.indexed)
	for _, value := range q.values {
		column.buckets.add(value, sub)
	}
}

func (x *scopeIndex) column(position int) *columnIndex {
	at := slices.IndexFunc(x.columns, func(c columnIndex) bool { return c.position == position })
	if at < 0 {
		x.columns = append(x.columns, columnIndex{position: position})
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
		column.buckets.left(value)
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

// find gives the buckets with the subscriptions that a change may concern, and their entries. Only in those that have to be
// tested may a subscription stand twice.
func (x *scopeIndex) find(r *rows, key *[]byte, give func(*bucket, []*Subscription, visit)) {
	for _, b := range []*bucket{&x.plain, &x.filtered} {
		if len(b.entries) > 0 {
			give(b, b.entries, certain)
		}
	}
	for i := range x.columns {
		column := &x.columns[i]
		before, after := column.lookup(r.before, key), column.lookup(r.after, key)
		switch {
		case r.before != nil && r.after != nil && before != after:
			for _, s := range []*slot{after, before} {
				if s != nil {
					give(s.bucket, s.entries, tested)
				}
			}
		case after != nil:
			give(after.bucket, after.entries, certain)
		case before != nil:
			give(before.bucket, before.entries, certain)
		}
	}
}

// lookup finds the slot of a row's value; nil when there is none. The memory of key is used.
func (c *columnIndex) lookup(row []datum.Datum, key *[]byte) *slot {
	if row == nil || row[c.position].IsNull() {
		return nil
	}
	*key = datum.AppendKey((*key)[:0], row[c.position])
	return c.buckets.find(*key)
}

// all lists the subscriptions once each.
func (x *scopeIndex) all() []*Subscription {
	list := make([]*Subscription, 0, x.count)
	for _, b := range []*bucket{&x.plain, &x.filtered} {
		list = append(list, b.entries...)
	}
	for i := range x.columns {
		x.columns[i].buckets.each(func(b *bucket) {
			for at, sub := range b.entries {
				if first := sub.places[0]; first.bucket == b && first.at == at {
					list = append(list, sub)
				}
			}
		})
	}
	return list
}
