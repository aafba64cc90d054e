package jobs

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

// Statement runs the SQL of a schedule as the user who made it, with the role that the user has now. Run carries out
// one statement in a session.
func Statement(store *catalog.Store, run func(ctx context.Context, caller session.Session, sql string) error) Kind {
	return Kind{Type: applier.JobTypeStatement, Run: func(ctx context.Context, work *Work) error {
		var parameters applier.StatementParameters
		if err := json.Unmarshal([]byte(work.Job.GetParameters()), &parameters); err != nil {
			return Permanent(fmt.Errorf("parameters: %w", err))
		}
		user, exists := store.Current().User(ident.UserID(work.Job.GetUser()))
		if !exists || user.Deleted() {
			return Permanent(fmt.Errorf("user '%s', who made the schedule, does not exist any more", work.Job.GetUser()))
		}
		caller := session.Session{User: user.ID, Role: user.Role, Namespace: parameters.Namespace}
		if caller.Namespace == "" {
			caller.Namespace = "default"
		}
		if err := run(ctx, caller, parameters.Statement); err != nil {
			return err
		}
		work.Report(100, "ran the statement of schedule "+parameters.Schedule)
		return nil
	}}
}
