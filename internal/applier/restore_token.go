package applier

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/restorevalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Rows of a restore carry the token of the claim under which the job ran. A run that lost its job may have commands under way still; once the run that took
// over has written into a group, and so before anybody works with what was restored there, they are refused. The tokens of claims ascend over all jobs.

// admitRestore refuses rows of a run whose job went on under a higher token, and remembers the token of one that did not. The first command of a run
// has no rows: it goes to every group, so that all of them tell cursors of other clusters from own ones.
func (d *Data) admitRestore(batch *storage.Batch, body *commandv1.WriteRows) (*commandv1.Response, error) {
	token := body.GetRestoreToken()
	switch {
	case token == 0, token == d.restored.Token:
		return nil, nil
	case token < d.restored.Token:
		return command.Refuse(fault.Conflict, "rows are restored under token %d by now; token %d is stale", d.restored.Token, token), nil
	case body.GetRestoreOrigin() > command.MaxOrdinal:
		return command.Refuse(fault.InvalidStatement, "rows are numbered from %d on, at most %d can be", body.GetRestoreOrigin(), command.MaxOrdinal), nil
	}
	d.restored.Token = token
	if origin := body.GetRestoreOrigin(); origin > 0 {
		d.restored.Origin = origin
	}
	return nil, batch.Set(keys.Restore(d.group), d.restored.Encode())
}

// restoreMark reads what the group remembers of a restore.
func (d *Data) restoreMark(reader storage.Reader) error {
	d.restored = restorevalue.Mark{}
	value, found, err := reader.Get(keys.Restore(d.group))
	if err == nil && found {
		d.restored, err = restorevalue.Decode(value)
	}
	if err != nil {
		return fmt.Errorf("restore the mark of a restore: %w: %w", storage.ErrCorruption, err)
	}
	return nil
}

// admitRestorer refuses records of the catalog from a run that lost its job, and notes in the job which backup it restores: the newest one may be
// another when the job runs again.
func (c *metaCall) admitRestorer(body *commandv1.RestoreCatalog) (*commandv1.Response, error) {
	return c.admitRun(body.GetJob(), body.GetToken())
}

// admitRun refuses what comes from a run that lost its job, or under the token of none. Zero is from a sender that does not say.
func (c *metaCall) admitRun(number, token uint64) (*commandv1.Response, error) {
	if token == 0 {
		return nil, nil
	}
	job, refused, err := c.live(number)
	if refused != nil || err != nil {
		return refused, err
	}
	if held := job.GetClaim().GetToken(); held != token {
		return command.Refuse(fault.Conflict, "job %s: token %d is stale, the token is %d", catalog.JobID(job), token, held), nil
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
