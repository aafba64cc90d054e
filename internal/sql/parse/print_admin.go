package parse

// sessionStatement adds statements about transactions, variables and what exists.
func (w *printer) sessionStatement(statement Statement) bool {
	switch s := statement.(type) {
	case *Begin:
		w.text("BEGIN")
		w.modes(s.Modes)
	case *Commit:
		w.text("COMMIT")
	case *Rollback:
		w.text("ROLLBACK")
	case *Savepoint:
		w.column("SAVEPOINT ", s.Name, "")
	case *ReleaseSavepoint:
		w.column("RELEASE SAVEPOINT ", s.Name, "")
	case *RollbackTo:
		w.column("ROLLBACK TO SAVEPOINT ", s.Name, "")
	case *SetTransaction:
		w.text("SET TRANSACTION")
		w.modes(s.Modes)
	case *SetVariable:
		w.text("SET ")
		w.when(s.Local, "LOCAL ")
		w.dotted(s.Name)
		w.text(" = ")
		w.when(len(s.Values) == 0, "DEFAULT")
		w.expressions(s.Values)
	case *ResetVariable:
		w.variable("RESET ", s.Name)
	case *ShowVariable:
		w.variable("SHOW ", s.Name)
	case *Show:
		w.show(s)
	case *Describe:
		w.text("DESCRIBE ")
		w.when(s.Keyword, "TABLE ")
		w.object(s.Table)
		w.when(s.History, " HISTORY")
	default:
		return false
	}
	return true
}

// modes adds transaction modes with a space in front.
func (w *printer) modes(m TransactionModes) {
	w.when(m.Isolation != "", " ISOLATION LEVEL "+upper(m.Isolation))
	w.when(m.Access == ReadOnly, " READ ONLY")
	w.when(m.Access == ReadWrite, " READ WRITE")
}

// variable adds a word and the name of a variable, or ALL. A name that reads as a list of objects is quoted.
func (w *printer) variable(word, name string) {
	w.text(word)
	if name == "" {
		w.text("ALL")
		return
	}
	if _, list := showKind(name); list || name == "time" || name == "live" {
		w.quoted(name, '"')
		return
	}
	w.dotted(name)
}

// show adds SHOW of a list of objects.
func (w *printer) show(s *Show) {
	switch s.Kind { //nolint:exhaustive // the others need nothing here
	case ShowTables, ShowViews:
		w.text("SHOW " + showWord(s.Kind))
		if s.Namespace.Name != "" {
			w.column(" IN NAMESPACE ", s.Namespace, "")
		}
	case ShowStats:
		w.text("SHOW STATS FOR TABLE ")
		w.object(s.Table)
	case ShowColumns:
		w.text("SHOW COLUMNS FROM ")
		w.object(s.Table)
	default:
		w.text("SHOW " + showWord(s.Kind))
		if s.Table.Name != "" {
			w.text(" FOR TABLE ")
			w.object(s.Table)
		}
	}
}

// showWord returns the words of a list of objects.
func showWord(kind ShowKind) string {
	words := [...]string{
		"NAMESPACES", "TABLES", "STORAGES", "STATS", "MANIFEST", "COLUMNS", "EXPORT", "USERS", "JOBS", "TOPICS",
		"VIEWS", "INDEXES", "CLUSTER", "LIVE QUERIES", "SCHEDULES",
	}
	if int(kind) < len(words) {
		return words[kind]
	}
	return "ALL"
}

// administration adds statements about users, storages, jobs and the cluster.
func (w *printer) administration(statement Statement) bool {
	switch s := statement.(type) {
	case *CreateUser:
		w.createUser(s)
	case *AlterUser:
		w.alterUser(s)
	case *DropUser:
		w.drop("DROP USER ", s.IfExists, ObjectName{Name: s.Name.Name}, false)
	case *CreateStorage:
		w.create("CREATE STORAGE ", s.IfNotExists)
		w.name(s.Name.Name)
		w.settings(s.Settings)
	case *AlterStorage:
		w.column("ALTER STORAGE ", s.Name, " SET")
		w.settings(s.Settings)
	case *DropStorage:
		w.drop("DROP STORAGE ", s.IfExists, ObjectName{Name: s.Name.Name}, false)
	case *StorageCheck:
		w.column("STORAGE CHECK ", s.Name, "")
		w.when(s.Extended, " EXTENDED")
	case *StorageFlush:
		w.storageScope("STORAGE FLUSH ", s.Table, s.Namespace)
	case *StorageCompact:
		w.storageScope("STORAGE COMPACT ", s.Table, s.Namespace)
	case *KillJob:
		w.text("KILL JOB ")
		w.literal(s.ID)
	case *Kill:
		if s.Transaction {
			w.text("KILL TRANSACTION ")
		} else {
			w.text("KILL QUERY ")
		}
		w.literal(s.ID)
	case *KillLiveQuery:
		w.text("KILL LIVE QUERY ")
		w.literal(s.ID)
	case *BackupDatabase:
		w.text("BACKUP DATABASE TO ")
		w.literal(s.Directory)
	case *RestoreDatabase:
		w.text("RESTORE DATABASE FROM ")
		w.literal(s.Directory)
		if s.Backup != "" {
			w.text(" BACKUP ")
			w.literal(s.Backup)
		}
	case *RunJob:
		w.text("RUN JOB ")
		w.name(s.Kind.Name)
	case *ExportUserData:
		w.text("EXPORT USER DATA")
	case *Cluster:
		w.cluster(s)
	default:
		return w.schedule(statement)
	}
	return true
}

// createUser adds CREATE USER.
func (w *printer) createUser(s *CreateUser) {
	w.create("CREATE USER ", s.IfNotExists)
	w.name(s.Name.Name)
	switch s.Method {
	case AuthPassword:
		w.text(" WITH PASSWORD ")
		w.secret(s.Secret)
	case AuthOAuth:
		w.text(" WITH OAUTH")
		if s.Secret != "" {
			w.text(" ")
			w.secret(s.Secret)
		}
	case AuthInternal:
		w.text(" WITH INTERNAL")
	}
	w.text(" ROLE ")
	w.name(s.Role)
	if s.Email != "" {
		w.text(" EMAIL ")
		w.literal(s.Email)
	}
}

// alterUser adds ALTER USER.
func (w *printer) alterUser(s *AlterUser) {
	w.column("ALTER USER ", s.Name, " SET ")
	switch s.Field {
	case UserPassword:
		w.text("PASSWORD ")
		w.secret(s.Value)
	case UserRole:
		w.text("ROLE ")
		w.name(s.Value)
	case UserEmail:
		w.text("EMAIL ")
		w.literal(s.Value)
	}
}

// settings adds the settings of a storage.
func (w *printer) settings(list []Option) {
	for _, setting := range list {
		w.text(" " + upper(setting.Name) + " ")
		if w.masked && (setting.Name == "credentials" || setting.Name == "config") {
			w.secret("")
			continue
		}
		w.expression(setting.Value, bindNothing)
	}
}

// storageScope adds words and TABLE t, or ALL.
func (w *printer) storageScope(words string, table ObjectName, namespace Ident) {
	w.text(words)
	if table.Name != "" {
		w.text("TABLE ")
		w.object(table)
		return
	}
	w.text("ALL")
	if namespace.Name != "" {
		w.column(" IN NAMESPACE ", namespace, "")
	}
}

// topicStatement adds statements about topics.
func (w *printer) topicStatement(statement Statement) {
	switch s := statement.(type) {
	case *CreateTopic:
		w.create("CREATE TOPIC ", s.IfNotExists)
		w.object(s.Name)
		if s.Partitions != 0 {
			w.text(" PARTITIONS ")
			w.integer(s.Partitions)
		}
		if len(s.Options) > 0 {
			w.text(" WITH ")
			w.options(s.Options)
		}
	case *DropTopic:
		w.drop("DROP TOPIC ", s.IfExists, s.Name, false)
	case *ClearTopic:
		w.text("CLEAR TOPIC ")
		w.object(s.Name)
	case *AlterTopic:
		w.alterTopic(s)
	case *Consume:
		w.consume(s)
	case *Ack:
		w.text("ACK ")
		w.object(s.Topic)
		w.text(" GROUP ")
		w.literal(s.Group)
		w.text(" PARTITION ")
		w.integer(s.Partition)
		w.text(" UPTO OFFSET ")
		w.integer(s.Offset)
	}
}

// alterTopic adds ALTER TOPIC.
func (w *printer) alterTopic(s *AlterTopic) {
	w.text("ALTER TOPIC ")
	w.object(s.Name)
	w.text(" ADD SOURCE ")
	w.object(s.Source)
	w.text([...]string{" ON INSERT", " ON UPDATE", " ON DELETE", " ON INSERT"}[s.Operation&3])
	w.clause(" WHERE ", s.Where)
	if len(s.Options) > 0 {
		w.text(" WITH ")
		w.options(s.Options)
	}
}

// consume adds CONSUME.
func (w *printer) consume(s *Consume) {
	w.text("CONSUME FROM ")
	w.object(s.Topic)
	if s.Group != "" {
		w.text(" GROUP ")
		w.literal(s.Group)
	}
	w.when(s.Start == StartEarliest, " FROM EARLIEST")
	w.when(s.Start == StartLatest, " FROM LATEST")
	if s.Start == StartOffset {
		w.text(" FROM ")
		w.integer(s.Offset)
	}
	if s.Limit >= 0 {
		w.text(" LIMIT ")
		w.integer(s.Limit)
	}
}

// cluster adds a CLUSTER statement.
func (w *printer) cluster(s *Cluster) {
	w.text("CLUSTER ")
	switch s.Action { //nolint:exhaustive // the others need nothing here
	case ClusterPurge:
		w.text("PURGE --upto ")
		w.integer(s.Upto)
	case ClusterRetain:
		w.text("RETAIN CHANGES")
		w.bound(" ENTRIES ", s.Retain.Entries)
		w.bound(" BYTES ", s.Retain.Bytes)
		w.bound(" SECONDS ", s.Retain.Seconds)
	case ClusterTransferLeader:
		w.text("TRANSFER LEADER ")
		w.integer(s.Node)
	case ClusterJoin:
		w.text("JOIN ")
		w.integer(s.Node)
		w.text(" ")
		w.literal(s.RPCAddress)
		w.text(" ")
		w.literal(s.APIAddress)
	default:
		w.text(clusterWord(s.Action))
		w.when(s.DryRun, " DRY RUN")
		if s.Node != 0 {
			w.text(" ")
			w.integer(s.Node)
		}
	}
	for i, group := range s.Groups {
		if i == 0 {
			w.text(" ON GROUP ")
		} else {
			w.text(", ")
		}
		w.integer(group)
	}
}

// bound adds a bound that is set.
func (w *printer) bound(name string, value int64) {
	if value != 0 {
		w.text(name)
		w.integer(value)
	}
}

// clusterWord returns the words of the cluster actions that take nothing.
func clusterWord(action ClusterAction) string {
	switch action { //nolint:exhaustive // the others need nothing here
	case ClusterSnapshot:
		return "SNAPSHOT"
	case ClusterTriggerElection:
		return "TRIGGER ELECTION"
	case ClusterStepdown:
		return "STEPDOWN"
	case ClusterClear:
		return "CLEAR"
	case ClusterRebalance:
		return "REBALANCE"
	case ClusterStatus:
		return "STATUS"
	case ClusterLeave:
		return "LEAVE"
	case ClusterDrain:
		return "DRAIN"
	case ClusterResume:
		return "RESUME"
	}
	return "LIST"
}
