package backup

import (
	"errors"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// maxChanged bounds the changes that are kept in memory, about a hundred bytes each. With more of them hot rows are read as if nothing were known.
const maxChanged = 1 << 18

// changed knows which rows of a group were written behind an index, from the group's log of changes. It reads the log when it is asked first.
type changed struct {
	view  storage.Reader
	group shard.GroupID
	since uint64

	read bool
	all  bool     // the log does not reach back: anything may have changed
	rows []string // keys of rows, in their order
}

// between reports whether a row behind start and up to end was written; nil is the begin, and the end, of the group's rows.
func (c *changed) between(start, end *Place) (bool, error) {
	if !c.read {
		if err := c.load(); err != nil {
			return false, err
		}
		c.read = true
	}
	if c.all {
		return true, nil
	}
	i := 0
	if start != nil {
		from := keys.Row(c.group, start.Table, ident.UserID(start.User), start.Key)
		at, found := slices.BinarySearch(c.rows, string(from))
		if i = at; found {
			i++
		}
	}
	if i == len(c.rows) {
		return false, nil
	}
	return end == nil || c.rows[i] <= string(keys.Row(c.group, end.Table, ident.UserID(end.User), end.Key)), nil
}

func (c *changed) load() error {
	after := command.Seq(c.since, command.MaxOrdinal)
	if err := changelog.Check(c.view, c.group, after); errors.Is(err, changelog.ErrTooOld) {
		c.all = true
		return nil
	} else if err != nil {
		return err
	}
	err := changelog.Read(c.view, c.group, after, nil, func(change changefeed.Change) bool {
		if change.Kind == changefeed.Purge {
			return true // the table was dropped, and chunks with its rows are not taken over
		}
		c.rows = append(c.rows, string(keys.Row(c.group, change.Table, change.User, change.PrimaryKey)))
		c.all = len(c.rows) == maxChanged
		return !c.all
	})
	if c.all {
		c.rows = nil
	}
	slices.Sort(c.rows)
	c.rows = slices.Compact(c.rows)
	return err
}
