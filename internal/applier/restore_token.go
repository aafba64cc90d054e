package applier

import (
	"encoding/binary"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Rows of a restore carry the token of the claim under which the job ran. A run that lost its job may have commands under way still; once the run that took
// over has written into a group, and so before anybody works with what was restored there, they are refused. The tokens of claims ascend over all jobs.

// admitRestore refuses rows of a run whose job went on under a higher token.
func (d *Data) admitRestore(batch *storage.Batch, token uint64) (*commandv1.Response, error) {
	if token == 0 {
		return nil, nil
	}
	key, seen := keys.Restore(d.group), uint64(0)
	value, ok, err := batch.Get(key)
	switch {
	case err != nil:
		return nil, err
	case ok && len(value) != 8:
		return nil, fmt.Errorf("%w: the restore token of %s has %d bytes", storage.ErrCorruption, d.group, len(value))
	case ok:
		seen = binary.BigEndian.Uint64(value)
	}
	if token < seen {
		return command.Refuse(fault.Conflict, "rows are restored under token %d by now; token %d is stale", seen, token), nil
	}
	if token == seen {
		return nil, nil
	}
	return nil, batch.Set(key, binary.BigEndian.AppendUint64(nil, token))
}

// admitRestorer refuses records of the catalog from a run that lost its job, and notes in the job which backup it restores: the newest one may be
// another when the job runs again.
func (c *metaCall) admitRestorer(body *commandv1.RestoreCatalog) (*commandv1.Response, error) {
	if body.GetToken() == 0 {
		return nil, nil
	}
	job, refused, err := c.live(body.GetJob())
	if refused != nil || err != nil {
		return refused, err
	}
	if held := job.GetClaim().GetToken(); held != body.GetToken() {
		return command.Refuse(fault.Conflict, "job %s: token %d is stale, the token is %d", catalog.JobID(job), body.GetToken(), held), nil
	}
	return nil, nil
}

// noteRestore writes into the job of a restore which backup it restores.
func (c *metaCall) noteRestore(body *commandv1.RestoreCatalog) error {
	if body.GetToken() == 0 {
		return nil
	}
	job, refused, err := c.live(body.GetJob())
	if refused != nil || err != nil || job.GetRestoring() == body.GetBackup() {
		return err
	}
	job.Restoring = body.GetBackup()
	return c.put(keys.Job(job.GetNumber()), job)
}
