package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/storages"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// StartJob makes a job and names it in its answer.
type StartJob struct {
	Job     *commandv1.Job
	Here    bool   // the job is for the node that runs the statement
	Most    int    // how many live jobs of this type there may be; more are refused. Zero means no bound of its own.
	Message string // what begins
}

func (*StartJob) statement() {}

// jobTries is how often jobs that a statement starts are tried again.
const jobTries = 3

func (e *Environment) backupDatabase(node *parse.BackupDatabase) (Statement, error) {
	here, err := e.backupPlace(node, node.Directory)
	if err != nil {
		return nil, err
	}
	return startJob(node, applier.JobTypeBackup, "BK", here, fmt.Sprintf("Backup to '%s' started", node.Directory),
		applier.BackupParameters{Location: node.Directory})
}

func (e *Environment) restoreDatabase(node *parse.RestoreDatabase) (Statement, error) {
	here, err := e.backupPlace(node, node.Directory)
	if err != nil {
		return nil, err
	}
	return startJob(node, applier.JobTypeRestore, "RS", here, fmt.Sprintf("Restore from '%s' started", node.Directory),
		applier.BackupParameters{Location: node.Directory, Backup: node.Backup})
}

// backupPlace checks where a backup lies: in a directory of this node, or in a storage. here says that only this node has
// it.
func (e *Environment) backupPlace(node parse.Node, location string) (here bool, err error) {
	if strings.HasPrefix(location, "/") {
		if strings.Contains(location, "..") || strings.ContainsRune(location, 0) {
			return false, invalid(node, "the directory '%s' must not hold '..'", location)
		}
		return true, nil
	}
	id, _, _ := strings.Cut(location, "/")
	storage, exists := e.Catalog.Storage(id)
	if !exists {
		return false, at(node, fault.New(fault.NotFound, "'%s' is neither an absolute directory nor begins with the name of a storage", location))
	}
	return storage.Type == storages.TypeFilesystem, nil
}

func startJob(node parse.Node, kind, prefix string, here bool, message string, parameters any) (Statement, error) {
	text, err := json.Marshal(parameters)
	if err != nil {
		return nil, invalid(node, "the job cannot be described: %v", err)
	}
	sum := sha256.Sum256(text)
	return &StartJob{Here: here, Message: message, Job: &commandv1.Job{
		Type: kind, IdPrefix: prefix, Parameters: string(text), IdempotencyKey: kind + ":" + hex.EncodeToString(sum[:16]), MaxRetries: jobTries,
	}}, nil
}

// maxExports bounds the exports that wait or run: they are made by anybody, and must not fill the list of jobs.
const maxExports = 128

// exportUserData makes the job that exports what the caller owns. Asking again while it lives names the same job.
func (e *Environment) exportUserData(node *parse.ExportUserData) (Statement, error) {
	if e.Caller.User() == "" {
		return nil, invalid(node, "EXPORT USER DATA needs a user")
	}
	sum := sha256.Sum256([]byte(e.Caller.User()))
	return &StartJob{Most: maxExports, Message: "Export of the data of user '" + string(e.Caller.User()) + "' started", Job: &commandv1.Job{
		Type: applier.JobTypeUserExport, IdPrefix: catalog.UserExportPrefix, MaxRetries: jobTries,
		IdempotencyKey: applier.JobTypeUserExport + ":" + hex.EncodeToString(sum[:16]),
	}}, nil
}

// showExport lists the caller's exports, the newest first, with where to download what is there. Whose they are is known when the plan is
// carried out.
func (e *Environment) showExport() (Statement, error) {
	batch, err := parse.ParseBatch("SELECT job_id, status, created_at, message, CASE WHEN expires_at > NOW() THEN download_url END AS download_url " +
		"FROM system.exports WHERE user_id = CURRENT_USER() ORDER BY created_at DESC, job_id DESC")
	if err != nil {
		return nil, fmt.Errorf("exports of a user: %w", err)
	}
	inner := *e
	inner.Caller.Role = session.RoleSystem // the view is closed to the caller; the condition lets nobody else's rows through
	return BuildAuthorized(&inner, batch[0].Statement)
}

// runnableJobs are the types of jobs that RUN JOB starts, with the prefixes of their ids: those that need to be told
// nothing.
var runnableJobs = map[string]string{ //nolint:gochecknoglobals // a table
	applier.JobTypeJobCleanup: "JC", applier.JobTypeRetention: "RT", applier.JobTypeStreamEviction: "SE",
}

func runJob(node *parse.RunJob) (Statement, error) {
	prefix, ok := runnableJobs[node.Kind.Name]
	if !ok {
		names := make([]string, 0, len(runnableJobs))
		for name := range runnableJobs {
			names = append(names, name)
		}
		slices.Sort(names)
		return nil, invalid(node, "RUN JOB starts jobs of the types %s, not '%s'", strings.Join(names, ", "), node.Kind.Name)
	}
	return &StartJob{Message: "Job started", Job: &commandv1.Job{
		Type: node.Kind.Name, IdPrefix: prefix, IdempotencyKey: node.Kind.Name, MaxRetries: jobTries, LeaderOnly: true,
	}}, nil
}
