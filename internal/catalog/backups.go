package catalog

import (
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// LoadBackups returns the backups that are remembered, the oldest first.
func LoadBackups(reader storage.Reader) ([]*commandv1.Backup, error) {
	return loadKind(reader, keys.KindBackup, same[*commandv1.Backup], func(b *commandv1.Backup) []byte { return keys.Backup(b.GetJob()) })
}

// Unmarshal reads a record as it lies under its key.
func Unmarshal(value []byte, record proto.Message) error { return unmarshal(value, record) }
