package catalog

import (
	"strconv"

	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// The audit log is a ring of records of the meta group. It is no part of the picture and is read from the keys.

// MaxAuditEntries bounds the entries that are ever kept; a command that asks for more keeps these.
const MaxAuditEntries = 100_000

// MaxAuditText bounds each text of an entry in bytes; a longer one is cut.
const MaxAuditText = 2048

// Names of the sequences of the audit log.
const (
	SequenceAudit      = "audit"       // the last entry's number
	SequenceAuditFirst = "audit_first" // the number of the oldest entry that is kept
)

// AuditID is the name of an entry in SQL.
func AuditID(entry *commandv1.AuditEntry) string {
	return "AU-" + strconv.FormatUint(entry.GetNumber(), 10)
}

// LoadAudit returns the audit log, oldest entry first.
func LoadAudit(reader storage.Reader) ([]*commandv1.AuditEntry, error) {
	return loadKind(reader, keys.KindAudit, same[*commandv1.AuditEntry], func(e *commandv1.AuditEntry) []byte {
		return keys.Audit(e.GetNumber())
	})
}
