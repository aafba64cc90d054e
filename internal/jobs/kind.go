package jobs

import (
	"context"
	"encoding/json"
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
	Job   *commandv1.Job // as it was claimed; read only
	Token uint64         // of the claim; no other run of any job has it

	mu      sync.Mutex // guards what follows
	percent uint32
	message string
	result  string
}

// Return sets the result that the job has when this run completes it: an object that can be written as JSON.
func (w *Work) Return(result any) error {
	text, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("result of the job: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result = string(text)
	return nil
}

// Report sets the progress that the next heartbeat carries: percent from 0 to 100, and a short text.
func (w *Work) Report(percent uint32, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.percent, w.message = min(percent, 100), message
}

func (w *Work) progress() (percent uint32, message, result string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.percent, w.message, w.result
}
