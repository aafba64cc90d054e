package applier

import (
	"time"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// The largest bounds of the changes that a group keeps. They only keep sums from overflowing.
const (
	maxRetainedEntries = 1 << 40
	maxRetainedBytes   = 1 << 50
	maxRetainedMicros  = int64(100*365*24*time.Hour) / int64(time.Microsecond)
)

// retainChanges changes the bounds of the change log. Repeating it changes nothing.
func (d *Data) retainChanges(batch *storage.Batch, nowMicros int64, body *commandv1.RetainChanges) (*commandv1.Response, error) {
	if body.GetEntries() > maxRetainedEntries || body.GetBytes() > maxRetainedBytes ||
		body.GetAgeMicros() < 0 || body.GetAgeMicros() > maxRetainedMicros {
		return command.Refuse(fault.InvalidStatement,
			"changes can be kept up to a number of 2^40, 2^50 bytes and 100 years"), nil
	}
	wanted := d.log.Retention()
	if body.GetEntries() > 0 {
		wanted.Entries = body.GetEntries()
	}
	if body.GetBytes() > 0 {
		wanted.Bytes = body.GetBytes()
	}
	if body.GetAgeMicros() > 0 {
		wanted.AgeMicros = body.GetAgeMicros()
	}
	if err := d.log.Retain(batch, wanted, nowMicros); err != nil {
		return nil, err
	}
	return done("Changes are kept: %d, %d bytes, %d seconds", wanted.Entries, wanted.Bytes, wanted.AgeMicros/1_000_000), nil
}
