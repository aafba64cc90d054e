package table

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
)

// Batch fills rows, which each have room for the declared columns, with the rows that come next, and returns how many they are.
// It gives what Next would give, for less: no caller stands between two rows. It gives none at the end, and none at all
// when the scope has cold rows, when the rows of the table can cease to exist, when single keys are read and when deletions or
// system columns are shown; Next gives the rest. With an error, the rows before it are given. What Seq and PrimaryKey say is undefined
// after it.
func (c *Cursor) Batch(rows [][]datum.Datum) (n int, err error) {
	if c.iterator == nil || c.cold.rows != nil || c.includeDeleted || !c.omitSystem || c.nowMicros != 0 {
		return 0, nil
	}
	if c.texts == nil {
		c.texts = new(datum.Texts)
	}
	for n < len(rows) {
		value, ok, err := c.hot()
		if !ok || err != nil {
			return n, c.failure(err)
		}
		_, deleted, encoded, err := rowvalue.Decode(value)
		if err != nil {
			return n, c.failure(err)
		}
		if deleted {
			continue
		}
		if err := c.decoder.DecodeSharing(encoded, rows[n], c.texts); err != nil {
			return n, c.failure(err)
		}
		n++
	}
	return n, nil
}
