package plan

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Build authorizes and binds a statement. Errors are *fault.Error, with line and column where a place in the
// text is to blame.
func Build(env *Environment, statement parse.Statement) (Statement, error) {
	if err := Authorize(env, statement); err != nil {
		return nil, err
	}
	return BuildAuthorized(env, statement)
}

// BuildAuthorized is Build for a caller that has just called Authorize with the same environment.
func BuildAuthorized(env *Environment, statement parse.Statement) (Statement, error) {
	switch node := statement.(type) {
	case *parse.Query:
		query, err := env.buildQuery(node, true)
		if err != nil {
			return nil, err
		}
		return query, nil
	case *parse.Insert:
		return env.newBuilder(false).insert(node)
	case *parse.Update:
		return env.newBuilder(false).update(node)
	case *parse.Delete:
		return env.newBuilder(false).delete(node)
	case *parse.WithChanges:
		return env.withChanges(node)
	case *parse.CreateNamespace:
		return env.createNamespace(node)
	case *parse.DropNamespace:
		return env.dropNamespace(node)
	case *parse.UseNamespace:
		return env.useNamespace(node)
	case *parse.CreateTable:
		return env.createTable(node)
	case *parse.DropTable:
		return env.dropTable(node)
	case *parse.AlterTable:
		return env.alterTable(node)
	case *parse.AlterNamespace:
		return env.alterNamespace(node)
	case *parse.CreateUser:
		return env.createUser(node)
	case *parse.AlterUser:
		return env.alterUser(node)
	case *parse.DropUser:
		return env.dropUser(node)
	case *parse.KillJob:
		return killJob(node), nil
	case *parse.CreateSchedule:
		return env.createSchedule(node)
	case *parse.AlterSchedule:
		return alterSchedule(node)
	case *parse.DropSchedule:
		return dropSchedule(node), nil
	case *parse.Show:
		return env.show(node)
	case *parse.Describe:
		return env.describe(node)
	case *parse.Explain:
		return env.explain(node)
	case *parse.ExecuteAsUser:
		return env.impersonate(node)
	case *parse.Cluster:
		return clusterStatement(node)
	case *parse.Subscribe:
		return env.subscribe(node)
	case *parse.KillLiveQuery:
		return &KillLive{ID: node.ID}, nil
	case *parse.Begin, *parse.Commit, *parse.Rollback, *parse.Savepoint, *parse.ReleaseSavepoint, *parse.RollbackTo,
		*parse.SetTransaction:
		return &Transact{Node: statement}, nil
	case *parse.Kill:
		return &Kill{Node: node}, nil
	}
	return env.buildSettings(statement)
}

// buildSettings binds what is about views, indexes, storages and settings of a session.
func (e *Environment) buildSettings(statement parse.Statement) (Statement, error) {
	switch node := statement.(type) {
	case *parse.CreateView:
		return e.createView(node)
	case *parse.DropView:
		return e.dropView(node)
	case *parse.CreateIndex:
		return e.createIndex(node)
	case *parse.DropIndex:
		return e.dropIndex(node)
	case *parse.CreateStorage:
		return e.createStorage(node)
	case *parse.AlterStorage:
		return e.alterStorage(node)
	case *parse.DropStorage:
		return dropStorage(node), nil
	case *parse.StorageCheck:
		return e.storageCheck(node)
	case *parse.StorageFlush:
		return e.storageFlush(node.Table, node.Namespace, false)
	case *parse.StorageCompact:
		return e.storageFlush(node.Table, node.Namespace, true)
	case *parse.BackupDatabase:
		return e.backupDatabase(node)
	case *parse.RestoreDatabase:
		return e.restoreDatabase(node)
	case *parse.RunJob:
		return runJob(node)
	case *parse.ExportUserData:
		return e.exportUserData(node)
	case *parse.ShowVariable:
		return showVariable(node)
	case *parse.SetVariable:
		return setVariable(node)
	case *parse.ResetVariable:
		return resetVariable(node)
	}
	return nil, notSupported(statement)
}

// notSupported says what a statement would need that is not there.
func notSupported(statement parse.Statement) error {
	switch statement.(type) {
	case *parse.CreateTopic, *parse.DropTopic, *parse.ClearTopic, *parse.AlterTopic, *parse.Consume, *parse.Ack:
		return unsupported(statement, "topics are not supported yet")
	}
	return unsupported(statement, "this statement is not supported")
}

// Authorize checks that the caller may run a statement, and that it is one that this server runs, as far as
// that can be said before statements that come earlier in the same request have run. Tables that do not
// exist are left to Build.
func Authorize(env *Environment, statement parse.Statement) error {
	role := env.Caller.Role
	if role == session.RoleAnonymous {
		return fault.New(fault.PermissionDenied, "access denied: sign in to run statements")
	}
	switch node := statement.(type) {
	case *parse.Query:
		return env.authorizeTables(tablesOf(node))
	case *parse.Insert:
		return env.authorizeChange(node, node.Table)
	case *parse.Update:
		return env.authorizeChange(node, node.Table)
	case *parse.Delete:
		return env.authorizeChange(node, node.Table)
	case *parse.WithChanges:
		return env.authorizeChanges(node)
	case *parse.ExecuteAsUser:
		return env.authorizeImpersonation(node)
	case *parse.Explain:
		if err := requireAdmin(role, "EXPLAIN"); err != nil {
			return err
		}
		return Authorize(env, node.Statement)
	case *parse.Show:
		return authorizeShow(role, node)
	case *parse.CreateTable:
		return env.authorizeCreate(node)
	case *parse.Subscribe:
		return env.authorizeTables(tablesOf(node.Query))
	case *parse.AlterTable:
		return env.authorizeAlter(node, node.Name)
	case *parse.CreateIndex:
		return env.authorizeAlter(node, node.Table)
	case *parse.StorageFlush:
		return requireService(role, "STORAGE FLUSH")
	case *parse.StorageCompact:
		return requireService(role, "STORAGE COMPACT")
	case *parse.RestoreDatabase:
		// A backup brings accounts of any role along, and nobody has signed it.
		if role != session.RoleSystem {
			return at(node, fault.New(fault.PermissionDenied, "access denied: RESTORE needs the role system, not %s", role))
		}
	case *parse.DropIndex:
		return nil // the table is known when the index is found
	}
	if what := administration(statement); what != "" {
		if err := requireAdmin(role, what); err != nil {
			return err
		}
	}
	if err := env.authorizeGrant(statement); err != nil {
		return err
	}
	if node, ok := statement.(*parse.CreateView); ok {
		return env.authorizeTables(tablesOf(node.Query))
	}
	return runnable(statement)
}

// authorizeCreate checks the kind of the new table. A statement that is wrong in itself is left to Build.
func (e *Environment) authorizeCreate(node *parse.CreateTable) error {
	descriptor := &schema.Table{}
	descriptor.Namespace, descriptor.Name = e.tableName(node.Name)
	if err := e.tableKind(node, descriptor); err != nil || canCreate(e.Caller.Role, descriptor.Kind) {
		return nil //nolint:nilerr // Build reports it
	}
	return at(node, fault.New(fault.PermissionDenied,
		"access denied: role %s cannot create %s tables", e.Caller.Role, descriptor.Kind))
}

// authorizeGrant checks the role that a statement gives to a user.
func (e *Environment) authorizeGrant(statement parse.Statement) error {
	var word parse.Ident
	switch node := statement.(type) {
	case *parse.CreateUser:
		word = parse.Ident{Pos: node.RolePos, Name: node.Role}
	case *parse.AlterUser:
		if node.Field == parse.UserRole {
			word = parse.Ident{Pos: node.ValuePos, Name: node.Value}
		}
	}
	if word.Name == "" {
		return nil
	}
	_, err := e.grantable(word, word.Name)
	return err
}

// runnable refuses the kinds of statements that are not there yet, before anything of a request runs.
func runnable(statement parse.Statement) error {
	switch node := statement.(type) {
	case *parse.CreateNamespace, *parse.DropNamespace, *parse.UseNamespace, *parse.AlterNamespace, *parse.CreateTable, *parse.DropTable,
		*parse.CreateView, *parse.DropView, *parse.CreateUser, *parse.AlterUser, *parse.DropUser, *parse.Describe,
		*parse.CreateStorage, *parse.AlterStorage, *parse.DropStorage, *parse.StorageCheck,
		*parse.ShowVariable, *parse.SetVariable, *parse.ResetVariable,
		*parse.BackupDatabase, *parse.RestoreDatabase, *parse.RunJob, *parse.ExportUserData,
		*parse.KillJob, *parse.KillLiveQuery, *parse.CreateSchedule, *parse.AlterSchedule, *parse.DropSchedule,
		*parse.Begin, *parse.Commit, *parse.Rollback, *parse.Savepoint, *parse.ReleaseSavepoint, *parse.RollbackTo,
		*parse.SetTransaction, *parse.Kill:
		return nil
	case *parse.Cluster:
		_, err := clusterStatement(node)
		return err
	}
	return notSupported(statement)
}

// administration names a statement that only administrators run; it is empty for the others.
func administration(statement parse.Statement) string {
	switch statement.(type) {
	case *parse.CreateNamespace, *parse.DropNamespace, *parse.AlterNamespace:
		return "namespace DDL"
	case *parse.DropTable:
		return "DROP TABLE"
	case *parse.CreateUser, *parse.AlterUser, *parse.DropUser:
		return "user management"
	case *parse.CreateStorage, *parse.AlterStorage, *parse.DropStorage, *parse.StorageCheck:
		return "storage management"
	case *parse.CreateTopic, *parse.DropTopic, *parse.ClearTopic, *parse.AlterTopic:
		return "topic management"
	case *parse.CreateView, *parse.DropView:
		return "view DDL"
	case *parse.Cluster:
		return "CLUSTER"
	case *parse.KillJob, *parse.KillLiveQuery, *parse.Kill:
		return "KILL"
	case *parse.CreateSchedule, *parse.AlterSchedule, *parse.DropSchedule:
		return "schedule management"
	case *parse.BackupDatabase, *parse.RestoreDatabase:
		return "backup and restore"
	case *parse.RunJob:
		return "RUN JOB"
	case *parse.SetVariable, *parse.ResetVariable, *parse.ShowVariable:
		return "SET"
	}
	return ""
}

func authorizeShow(role session.Role, node *parse.Show) error {
	switch node.Kind {
	case parse.ShowNamespaces, parse.ShowTables, parse.ShowViews, parse.ShowStats, parse.ShowExport:
		return nil
	case parse.ShowColumns, parse.ShowStorages, parse.ShowUsers, parse.ShowJobs, parse.ShowTopics,
		parse.ShowIndexes, parse.ShowCluster, parse.ShowLiveQueries, parse.ShowSchedules, parse.ShowManifest:
		return requireAdmin(role, "SHOW of system objects")
	}
	return requireAdmin(role, "SHOW")
}

// authorizeTables checks the tables that exist already.
func (e *Environment) authorizeTables(names []parse.ObjectName) error {
	for _, name := range names {
		found, err := e.lookup(name)
		switch {
		case err != nil && fault.KindOf(err) != fault.TableNotFound:
			return err
		case err == nil && e.impersonating && e.readsShared(found):
			return at(name, impersonatedShared())
		}
	}
	return nil
}

func (e *Environment) authorizeChange(statement parse.Statement, name parse.ObjectName) error {
	if err := e.authorizeTables(tablesOf(statement)); err != nil {
		return err
	}
	return e.authorizeTarget(name)
}

// authorizeTarget checks that the caller may change a table, if it exists already.
func (e *Environment) authorizeTarget(name parse.ObjectName) error {
	_, err := e.target(name)
	if fault.KindOf(err) == fault.PermissionDenied {
		return err
	}
	return nil
}

// NeedsCatalog reports whether a statement reads or changes the catalog, or tables found through it.
func NeedsCatalog(statement parse.Statement) bool {
	if _, ok := statement.(*parse.Cluster); ok {
		return false // it must work while the meta group has no leader
	}
	switch statement.(type) {
	case *parse.Begin, *parse.Commit, *parse.Rollback, *parse.Savepoint, *parse.ReleaseSavepoint, *parse.RollbackTo,
		*parse.SetTransaction, *parse.Kill:
		return false
	}
	query, ok := statement.(*parse.Query)
	return !ok || slices.ContainsFunc(tablesOf(query), func(name parse.ObjectName) bool { return !isAboutNode(name) })
}

// isAboutNode reports whether a table is one of the views that tell how this node and its cluster are. They
// must be readable when the cluster is not well, so they wait for nobody.
func isAboutNode(name parse.ObjectName) bool {
	if name.Catalog != "" || name.Namespace != "system" {
		return false
	}
	switch name.Name {
	case "cluster", "cluster_groups", "stats", "settings":
		return true
	}
	return false
}

// authorizeImpersonation checks who may act for whom. An account that does not exist counts as a user.
func (e *Environment) authorizeImpersonation(node *parse.ExecuteAsUser) error {
	target := ident.UserID(node.User.Name)
	if e.impersonating {
		return invalid(node, "EXECUTE AS USER cannot be nested")
	}
	role := session.RoleUser
	if account, exists := e.Catalog.User(target); exists {
		role = account.Role
	}
	if target != e.Caller.User() && !canImpersonate(e.Caller.Role, role) {
		return at(node, fault.New(fault.PermissionDenied, "access denied: role %s cannot run statements as this user", e.Caller.Role))
	}
	inner := e.as(target)
	return Authorize(&inner, node.Statement)
}

// as is the environment of a statement that runs as another user, with role user.
func (e *Environment) as(target ident.UserID) Environment {
	inner := *e
	inner.Caller = e.Caller.As(target, session.RoleUser)
	inner.impersonating = true
	return inner
}

func (e *Environment) impersonate(node *parse.ExecuteAsUser) (Statement, error) {
	switch node.Statement.(type) {
	case *parse.Query, *parse.Insert, *parse.Update, *parse.Delete, *parse.WithChanges:
	default:
		return nil, invalid(node, "EXECUTE AS USER runs SELECT, INSERT, UPDATE or DELETE")
	}
	inner := e.as(ident.UserID(node.User.Name))
	statement, err := BuildAuthorized(&inner, node.Statement)
	if err != nil {
		return nil, err
	}
	return &Impersonate{Target: inner.Caller.User(), Role: inner.Caller.Role, Statement: statement, Source: node.Statement}, nil
}
