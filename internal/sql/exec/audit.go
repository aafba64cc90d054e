package exec

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Words of the audit log for what is no command of the catalog.
const (
	auditExecuteAs       = "EXECUTE_AS_USER"
	auditExecuteAsDenied = "EXECUTE_AS_USER_DENIED"
)

// The bounds of the entries for EXECUTE AS USER: a service may do nothing else, thousands of times a second.
const (
	usePeriod = time.Minute // of one caller for one user, one entry in this time
	maxUses   = 4096        // pairs that are counted; the rest is written each time
)

// auditLate is how long a CLUSTER statement waits for its entry: it must work while the meta group does not.
const auditLate = 2 * time.Second

// note is what the audit log is to say of a change of the catalog: its name, and the object that its fields name.
func (e *Engine) note(caller session.Session, cmd *commandv1.Command) *commandv1.AuditNote {
	if e.deps.AuditEntries == 0 {
		return nil
	}
	message := cmd.ProtoReflect()
	field := message.WhichOneof(message.Descriptor().Oneofs().ByName("body"))
	note := &commandv1.AuditNote{
		Action: strings.ToUpper(string(field.Name())), Target: targetOf(message.Get(field).Message()),
		IpAddress: caller.ClientIP, Keep: e.deps.AuditEntries,
	}
	if strings.HasSuffix(note.GetAction(), "_USER") {
		note.Subject = note.GetTarget()
	}
	return note
}

// targetOf names the object of a command: its namespace and name, its id, or those of the record in it.
func targetOf(message protoreflect.Message) string {
	fields := message.Descriptor().Fields()
	get := func(name protoreflect.Name) string {
		field := fields.ByName(name)
		if field == nil || field.Kind() != protoreflect.StringKind || field.IsList() {
			return ""
		}
		return message.Get(field).String()
	}
	if namespace, name := get("namespace"), get("name"); namespace != "" && name != "" {
		return namespace + "." + name
	}
	for _, name := range []protoreflect.Name{"name", "id"} {
		if text := get(name); text != "" {
			return text
		}
	}
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.Kind() == protoreflect.MessageKind && !field.IsList() && !field.IsMap() && message.Has(field) {
			return targetOf(message.Get(field).Message())
		}
	}
	return ""
}

// record writes an entry that goes with no change of the catalog.
func (e *Engine) record(ctx context.Context, caller session.Session, note *commandv1.AuditNote) error {
	if e.deps.AuditEntries == 0 {
		return nil
	}
	note.IpAddress, note.Keep = caller.ClientIP, e.deps.AuditEntries
	_, err := e.deps.Executor.Execute(executor.WithoutElsewhere(ctx), shard.Meta, &commandv1.Command{
		Header: &commandv1.Header{Actor: string(caller.User), Audit: note},
		Body:   &commandv1.Command_RecordAudit{RecordAudit: &commandv1.RecordAudit{}},
	})
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// recordCluster writes an entry about a CLUSTER statement that was carried out.
func (e *Engine) recordCluster(ctx context.Context, caller session.Session, action string, order *ClusterOrder, outcomes []ClusterOutcome) {
	failed := 0
	for i := range outcomes {
		if outcomes[i].Error != "" {
			failed++
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditLate)
	defer cancel()
	err := e.record(ctx, caller, &commandv1.AuditNote{
		Action: "CLUSTER_" + strings.ToUpper(action), Target: fmt.Sprintf("node %d", order.Node),
		Details: fmt.Sprintf("%d done, %d failed", len(outcomes)-failed, failed),
	})
	if err != nil {
		e.deps.Logger.Warn("a cluster operation is missing in the audit log", slog.String("action", action),
			slog.String("actor", string(caller.User)), slog.Any("error", err))
	}
}

// use is who acted, or tried to, in whose name.
type use struct {
	actor, subject ident.UserID
	denied         bool
}

type useCount struct {
	written time.Time // when the last entry was written
	since   int64     // uses after it
}

// uses counts EXECUTE AS USER. A pair's first use in a period is written before the statement runs; the later
// ones are counted, and the number stands in the pair's next entry.
type uses struct {
	clock clock.Clock

	mu     sync.Mutex // guards counts
	counts map[use]useCount
}

func newUses(c clock.Clock) *uses { return &uses{clock: c, counts: map[use]useCount{}} }

// count reports whether a use is to be written, and how many there were since the last that was.
func (u *uses) count(key use) (write bool, since int64) {
	now := u.clock.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	known, ok := u.counts[key]
	if ok && now.Sub(known.written) < usePeriod {
		known.since++
		u.counts[key] = known
		return false, 0
	}
	if !ok && len(u.counts) >= maxUses {
		for old, count := range u.counts {
			if count.since == 0 && now.Sub(count.written) >= usePeriod {
				delete(u.counts, old)
			}
		}
		if len(u.counts) >= maxUses {
			return true, 0
		}
	}
	u.counts[key] = useCount{written: now}
	return true, known.since
}

// forget makes the next use be written: the entry of this one could not.
func (u *uses) forget(key use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.counts, key)
}

// recordUse notes that a caller acts, or was refused to act, as another user.
func (e *Engine) recordUse(ctx context.Context, caller session.Session, subject ident.UserID, statement parse.Statement, denied bool) error {
	key := use{actor: caller.User, subject: subject, denied: denied}
	if e.deps.AuditEntries == 0 || caller.User == subject && !denied {
		return nil
	}
	write, since := e.uses.count(key)
	if !write {
		return nil
	}
	note := &commandv1.AuditNote{Action: auditExecuteAs, Target: string(subject), Subject: string(subject)}
	if denied {
		note.Action = auditExecuteAsDenied
	}
	note.Details = fmt.Sprintf("%s; %d more since the last entry", statementWord(statement), since)
	err := e.record(ctx, caller, note)
	if err != nil {
		e.uses.forget(key)
	}
	return err
}

// statementWord is the kind of a statement, without what it says: that may be private.
func statementWord(statement parse.Statement) string {
	switch statement.(type) {
	case *parse.Query:
		return "SELECT"
	case *parse.Insert:
		return "INSERT"
	case *parse.Update:
		return "UPDATE"
	case *parse.Delete:
		return "DELETE"
	case *parse.WithChanges:
		return "WITH"
	}
	return "statement"
}
