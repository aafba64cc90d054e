package applier

import (
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/scopevalue"
)

// scope is a table, or that of a user.
type scope struct {
	table uint64
	user  string
}

// touched collects the last write to each scope, so that a run of commands stores it once and not with each command. It holds
// one for each scope that the rows of the run name.
type touched struct {
	at     map[scope]int // in listed
	listed []touch       // in the order in which they were first written to
}

type touch struct {
	scope scope
	write scopevalue.Write
}

func newTouched() touched { return touched{at: make(map[scope]int)} }

// note takes a write, which replaces the one before.
func (t *touched) note(s scope, write scopevalue.Write) {
	// Commands that follow each other are often of one scope.
	if n := len(t.listed); n > 0 && t.listed[n-1].scope == s {
		t.listed[n-1].write = write
		return
	}
	if i, ok := t.at[s]; ok {
		t.listed[i].write = write
		return
	}
	t.at[s] = len(t.listed)
	t.listed = append(t.listed, touch{s, write})
}

// find returns the last write to a scope, if it is not in the batch yet.
func (t *touched) find(s scope) (scopevalue.Write, bool) {
	i, ok := t.at[s]
	if !ok {
		return scopevalue.Write{}, false
	}
	return t.listed[i].write, true
}

// keepTouched is up to how many scopes memory is used again.
const keepTouched = 4096

// settle puts the writes into the batch and forgets them.
func (t *touched) settle(group shard.GroupID, batch *storage.Batch) error {
	for i := range t.listed {
		s, write := &t.listed[i].scope, &t.listed[i].write
		value := scopevalue.OfIndex(write.Index)
		if write.Seq != 0 {
			value = scopevalue.OfSeq(write.Seq)
		}
		if err := batch.Set(keys.Scope(group, ident.TableID(s.table), ident.UserID(s.user)), value); err != nil {
			return err
		}
	}
	if len(t.listed) > keepTouched {
		*t = newTouched()
		return nil
	}
	clear(t.at)
	clear(t.listed)
	t.listed = t.listed[:0]
	return nil
}
