package txn

import (
	"maps"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Writes are the rows that a transaction has written, one for each key.
type Writes struct {
	rows   []*commandv1.RowWrite       // in the order of first writing
	places map[scopeKey]map[string]int // positions in rows
	sorted map[scopeKey][]string       // keys of a scope in ascending order; dropped when a key is added
}

func newWrites() Writes {
	return Writes{places: map[scopeKey]map[string]int{}, sorted: map[scopeKey][]string{}}
}

// AsOfNow is what the transaction has written so far; later writes do not change it.
func (t *Transaction) AsOfNow() *Writes {
	now := newWrites()
	now.rows = slices.Clone(t.rows)
	for scope, places := range t.places {
		now.places[scope] = maps.Clone(places)
	}
	return &now
}

// All is the rows that were written, in the order of first writing. Whoever gets them changes nothing of them.
func (w *Writes) All() []*commandv1.RowWrite { return w.rows }

// Written returns what was written under a key.
func (w *Writes) Written(scope *table.Scope, primaryKey []byte) (row *commandv1.RowWrite, ok bool) {
	place, ok := w.places[keyOf(scope)][string(primaryKey)]
	if !ok {
		return nil, false
	}
	return w.rows[place], true
}

// Touches reports whether was written into a scope.
func (w *Writes) Touches(scope *table.Scope) bool { return len(w.places[keyOf(scope)]) > 0 }

// Within returns what was written within bounds, ascending by key.
func (w *Writes) Within(scope *table.Scope, bounds *table.Bounds) []*commandv1.RowWrite {
	places := w.places[keyOf(scope)]
	var found []*commandv1.RowWrite
	if bounds.Points != nil {
		for _, point := range bounds.Points {
			if place, ok := places[string(point)]; ok {
				found = append(found, w.rows[place])
			}
		}
		return found
	}
	for _, key := range w.ascending(keyOf(scope)) {
		if key < string(bounds.Low) || bounds.High != nil && key >= string(bounds.High) {
			continue
		}
		found = append(found, w.rows[places[key]])
	}
	return found
}

// ascending returns the keys that were written in a scope in order.
func (w *Writes) ascending(scope scopeKey) []string {
	if sorted, known := w.sorted[scope]; known {
		return sorted
	}
	sorted := make([]string, 0, len(w.places[scope]))
	for key := range w.places[scope] {
		sorted = append(sorted, key)
	}
	slices.Sort(sorted)
	w.sorted[scope] = sorted
	return sorted
}
