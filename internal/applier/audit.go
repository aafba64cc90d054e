package applier

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// maxAuditPruned bounds the entries that one command removes, so that a smaller bound of the log costs many
// commands a little and none much.
const maxAuditPruned = 64

// audit writes the entry that a command's note asks for and forgets the oldest entries over the bound. How
// many are kept is said by the command, so that replicas with different configuration agree.
func (c *metaCall) audit(actor string, response *commandv1.Response) error {
	note := c.note
	keep := min(uint64(note.GetKeep()), catalog.MaxAuditEntries)
	if keep == 0 || response.GetFailure() != nil {
		return nil
	}
	number, err := c.add(catalog.SequenceAudit, 1)
	if err != nil {
		return err
	}
	details := note.GetDetails()
	if details == "" {
		details = response.GetMessage()
	}
	err = c.put(keys.Audit(number), &commandv1.AuditEntry{
		Number: number, AtMicros: c.now, Actor: cutAudit(actor), Action: cutAudit(note.GetAction()),
		Target: cutAudit(note.GetTarget()), Details: cutAudit(details), IpAddress: cutAudit(note.GetIpAddress()),
		Subject: cutAudit(note.GetSubject()),
	})
	if err != nil {
		return err
	}
	return c.pruneAudit(number, keep)
}

func (c *metaCall) pruneAudit(last, keep uint64) error {
	first, err := catalog.LoadSequence(c.batch, catalog.SequenceAuditFirst)
	if err != nil {
		return err
	}
	first = max(first, 1)
	if last-first < keep {
		return nil
	}
	end := min(last-keep+1, first+maxAuditPruned)
	for ; first < end; first++ {
		if err := c.batch.Delete(keys.Audit(first)); err != nil {
			return err
		}
	}
	return setSequence(c.batch, catalog.SequenceAuditFirst, first)
}

// cutAudit bounds a text of an entry.
func cutAudit(text string) string {
	if len(text) > catalog.MaxAuditText {
		text = text[:catalog.MaxAuditText]
	}
	return strings.ToValidUTF8(text, "")
}
