package catalog

import (
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// What a job that exports the data of a user is called.
const (
	TypeUserExport   = "user_export"
	UserExportPrefix = "UE"
	ExportPath       = "/v1/exports/" // what the path of a download begins with
)

// ExportResult is the result of a job of type TypeUserExport: the file that it has written. Members are never renamed.
type ExportResult struct {
	Node          ident.NodeID `json:"node"` // on which the file lies
	Path          string       `json:"path"` // below that node's directory of exports
	Bytes         int64        `json:"bytes"`
	SHA256        string       `json:"sha256"` // of the file, in hexadecimal
	Rows          int64        `json:"rows"`
	ExpiresMicros int64        `json:"expires_micros"` // when the file is removed
}

// Export is a job that exports, or exported, the data of a user.
type Export struct {
	Job    *commandv1.Job
	Result *ExportResult // nil unless the job is completed and its file is the newest of its user
}

// ExportURL is the path under which an export is downloaded.
func ExportURL(e *Export) string {
	return ExportPath + url.PathEscape(e.Job.GetUser()) + "/" + JobID(e.Job)
}

// User is whose data it is.
func (e *Export) User() ident.UserID { return ident.UserID(e.Job.GetUser()) }

// LoadExports returns the exports that are remembered, the oldest first, without those of accounts that are gone: a new
// account of the same name has no part in them.
func LoadExports(reader storage.Reader, current *Catalog) ([]Export, error) {
	var exports []Export
	newest := map[string]int{}
	for _, load := range []func(storage.Reader) ([]*commandv1.Job, error){LoadDoneJobs, LoadLiveJobs} {
		jobs, err := load(reader)
		if err != nil {
			return nil, err
		}
		for _, job := range jobs {
			if job.GetType() != TypeUserExport {
				continue
			}
			account, exists := current.User(ident.UserID(job.GetUser()))
			if !exists || account.CreatedMicros > job.GetCreatedMicros() {
				continue
			}
			export := Export{Job: job}
			if JobState(job.GetState()) == JobCompleted {
				export.Result = &ExportResult{}
				if err := json.Unmarshal([]byte(job.GetResult()), export.Result); err != nil {
					return nil, fmt.Errorf("%w: result of job %s: %w", storage.ErrCorruption, JobID(job), err)
				}
				if before, ok := newest[job.GetUser()]; ok {
					exports[before].Result = nil
				}
				newest[job.GetUser()] = len(exports)
			}
			exports = append(exports, export)
		}
	}
	return exports, nil
}
