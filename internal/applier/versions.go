package applier

import (
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// keepVersion keeps the descriptor that a newer version is about to replace. Of a table with more versions than
// catalog.MaxVersions the oldest go.
func (c *metaCall) keepVersion(replaced *schema.Table) error {
	kept, err := catalog.LoadVersions(c.batch, replaced.ID)
	if err != nil {
		return err
	}
	for len(kept) >= catalog.MaxVersions {
		if err := c.batch.Delete(keys.Version(replaced.ID, kept[0].Version)); err != nil {
			return err
		}
		kept = kept[1:]
	}
	return c.put(keys.Version(replaced.ID, replaced.Version), catalog.TableToProto(replaced))
}

// forgetVersions removes the replaced descriptors of a table that is dropped.
func (c *metaCall) forgetVersions(table *schema.Table) error {
	return c.batch.DeleteRange(keys.VersionSpan(table.ID))
}
