package live

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// encodeRow is a stored row of the table of the benchmarks.
func encodeRow(t *schema.Table, id, room int64) []byte {
	return schema.EncodeRow(t, []datum.Datum{intDatum(id), intDatum(room), datum.NewText("a message of some words, as people write them")})
}
