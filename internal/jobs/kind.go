package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// ErrNothingToDo ends, wrapped or not, a job as skipped.
var ErrNothingToDo = errors.New("nothing to do")

// errPermanent marks failures that another try cannot help.
var errPermanent = errors.New("permanent failure")

// Permanent makes err end the job as failed, whatever tries are left.
func Permanent(err error) error { return fmt.Errorf("%w: %w", errPermanent, err) }

// refusedForGood reports whether an error says that what is asked for is wrong, or that it is not there.
func refusedForGood(err error) bool {
	switch fault.KindOf(err) { //nolint:exhaustive // the others may pass
	case fault.InvalidStatement, fault.NotFound, fault.TableNotFound, fault.AlreadyExists, fault.PermissionDenied, fault.Unsupported:
		return err != nil
	}
	return false
}

// Kind is one type of job.
type Kind struct {
	Type string // as in system.jobs.job_type
	// Run does the work and returns when it is done or when ctx ends. An error is a failed try, unless it is
	// ErrNothingToDo.
	Run func(ctx context.Context, work *Work) error
	// Limit is the most jobs of this type that run on one node at once, beside the limit for all; zero means no
	// other limit.
	Limit int
}

// Work is one run of one job. Its methods may be called from any goroutine.
type Work struct {
	Job *commandv1.Job // as it was claimed; read only

	mu      sync.Mutex // guards percent and message
	percent uint32
	message string
}

// Report sets the progress that the next heartbeat carries: percent from 0 to 100, and a short text.
func (w *Work) Report(percent uint32, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.percent, w.message = min(percent, 100), message
}

func (w *Work) progress() (percent uint32, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.percent, w.message
}
