package catalog

import (
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// MaxVersions bounds the replaced descriptors that are kept of a table. The oldest go first.
const MaxVersions = 64

// LoadVersions returns the descriptors of a table that newer versions replaced, the oldest first.
func LoadVersions(reader storage.Reader, table ident.TableID) ([]*schema.Table, error) {
	lo, hi := keys.VersionSpan(table)
	return loadSpan(reader, lo, hi, TableFromProto, func(t *schema.Table) []byte { return keys.Version(t.ID, t.Version) })
}
