package parse

// AuthMethod is how a created user proves who they are.
type AuthMethod uint8

// The authentication methods.
const (
	AuthPassword AuthMethod = iota
	AuthOAuth
	AuthInternal
)

// CreateUser is CREATE USER u WITH PASSWORD 'p' | OAUTH ['json'] | INTERNAL ROLE r [EMAIL 'e'].
type CreateUser struct {
	Pos
	IfNotExists bool
	Name        Ident
	Method      AuthMethod
	Secret      string // the password, or the JSON of OAUTH (may be empty)
	Role        string // lower case, not checked
	RolePos     Pos
	Email       string // empty when absent
}

// UserField is what ALTER USER changes.
type UserField uint8

// The fields of ALTER USER.
const (
	UserPassword UserField = iota
	UserRole
	UserEmail
)

// AlterUser is ALTER USER u SET PASSWORD 'p' | ROLE r | EMAIL 'e'.
type AlterUser struct {
	Pos
	Name     Ident
	Field    UserField
	Value    string // a role is in lower case
	ValuePos Pos    // of a role
}

// DropUser is DROP USER [IF EXISTS] u.
type DropUser struct {
	Pos
	IfExists bool
	Name     Ident
}

// CreateStorage is CREATE STORAGE [IF NOT EXISTS] id followed by its settings in any order. Settings holds
// the words as option names: type, name, description, path, base_directory, bucket, region, endpoint,
// shared_tables_template, user_tables_template, credentials, config. Each occurs at most once.
type CreateStorage struct {
	Pos
	IfNotExists bool
	Name        Ident
	Settings    []Option
}

// AlterStorage is ALTER STORAGE id SET settings, with the option names of CreateStorage.
type AlterStorage struct {
	Pos
	Name     Ident
	Settings []Option
}

// DropStorage is DROP STORAGE [IF EXISTS] id.
type DropStorage struct {
	Pos
	IfExists bool
	Name     Ident
}

// StorageCheck is STORAGE CHECK id [EXTENDED].
type StorageCheck struct {
	Pos
	Name     Ident
	Extended bool
}

// StorageFlush is STORAGE FLUSH TABLE t, or STORAGE FLUSH ALL [IN [NAMESPACE] n].
type StorageFlush struct {
	Pos
	Table     ObjectName // Name is empty for ALL
	Namespace Ident      // Name is empty when absent
}

// StorageCompact is STORAGE COMPACT TABLE t, or STORAGE COMPACT ALL [IN [NAMESPACE] n].
type StorageCompact struct {
	Pos
	Table     ObjectName // Name is empty for ALL
	Namespace Ident      // Name is empty when absent
}

// KillJob is KILL JOB id.
type KillJob struct {
	Pos
	ID string
}

// KillLiveQuery is KILL LIVE QUERY id.
type KillLiveQuery struct {
	Pos
	ID string
}

// Kill is KILL QUERY id, or KILL TRANSACTION id.
type Kill struct {
	Pos
	Transaction bool
	ID          string
}

// BackupDatabase is BACKUP DATABASE TO 'directory'.
type BackupDatabase struct {
	Pos
	Directory string
}

// RunJob is RUN JOB kind.
type RunJob struct {
	Pos
	Kind Ident
}

// RestoreDatabase is RESTORE DATABASE FROM 'directory' [BACKUP 'name'].
type RestoreDatabase struct {
	Pos
	Directory string
	Backup    string // empty for the newest
}

// ExportUserData is EXPORT USER DATA.
type ExportUserData struct{ Pos }

// CreateTopic is CREATE TOPIC [IF NOT EXISTS] n [PARTITIONS k] [WITH (..)].
type CreateTopic struct {
	Pos
	IfNotExists bool
	Name        ObjectName
	Partitions  int64 // zero when absent
	Options     []Option
}

// DropTopic is DROP TOPIC [IF EXISTS] n.
type DropTopic struct {
	Pos
	IfExists bool
	Name     ObjectName
}

// ClearTopic is CLEAR TOPIC n.
type ClearTopic struct {
	Pos
	Name ObjectName
}

// RowOperation is a kind of row change.
type RowOperation uint8

// The row changes.
const (
	OnInsert RowOperation = iota
	OnUpdate
	OnDelete
)

// AlterTopic is ALTER TOPIC n ADD SOURCE t ON INSERT|UPDATE|DELETE [WHERE ..] [WITH (..)].
type AlterTopic struct {
	Pos
	Name      ObjectName
	Source    ObjectName
	Operation RowOperation
	Where     Expr
	Options   []Option
}

// ConsumeStart is where CONSUME begins.
type ConsumeStart uint8

// The starts of CONSUME.
const (
	StartUnstated ConsumeStart = iota
	StartEarliest
	StartLatest
	StartOffset
)

// Consume is CONSUME FROM n [GROUP 'g'] [FROM EARLIEST|LATEST|offset] [LIMIT k].
type Consume struct {
	Pos
	Topic  ObjectName
	Group  string // empty when absent
	Start  ConsumeStart
	Offset int64 // for StartOffset
	Limit  int64 // -1 when absent
}

// Ack is ACK n GROUP 'g' [PARTITION p] UPTO OFFSET o.
type Ack struct {
	Pos
	Topic     ObjectName
	Group     string
	Partition int64
	Offset    int64
}

// ClusterAction is what a CLUSTER statement asks for.
type ClusterAction uint8

// The cluster actions. LIST and STATUS, and LEAVE without a node, are recognised so that the caller can be
// told what to use instead.
const (
	ClusterSnapshot ClusterAction = iota
	ClusterPurge                  // Upto is set
	ClusterTriggerElection
	ClusterTransferLeader // Node is set
	ClusterStepdown       // Node may be set
	ClusterClear
	ClusterRebalance // DryRun may be set
	ClusterJoin      // Node, RPCAddress and APIAddress are set
	ClusterList
	ClusterStatus
	ClusterLeave  // Node is set, or zero when absent
	ClusterDrain  // Node may be set
	ClusterResume // Node may be set
	ClusterRetain // Retain is set
)

// Cluster is CLUSTER SNAPSHOT | PURGE --upto n | TRIGGER ELECTION | TRANSFER LEADER [TO] n | STEPDOWN [n] |
// REBALANCE [DRY RUN] | RETAIN CHANGES [ENTRIES n] [BYTES n] [SECONDS n], JOIN n rpc api | LEAVE n, each with [ON GROUP g [, g]],
// or CLUSTER DRAIN [n] | RESUME [n] | CLEAR.
type Cluster struct {
	Pos
	Action     ClusterAction
	Upto       int64
	Node       int64 // zero when absent
	RPCAddress string
	APIAddress string
	DryRun     bool
	Groups     []int64 // of ON GROUP; nil when absent
	Retain     Retain
}

// Retain says how much of the changes a group keeps for cursors. Zero leaves a bound as it is; one of them is set.
type Retain struct{ Entries, Bytes, Seconds int64 }

func (*CreateUser) statement()      {}
func (*AlterUser) statement()       {}
func (*DropUser) statement()        {}
func (*CreateStorage) statement()   {}
func (*AlterStorage) statement()    {}
func (*DropStorage) statement()     {}
func (*StorageCheck) statement()    {}
func (*StorageFlush) statement()    {}
func (*StorageCompact) statement()  {}
func (*KillJob) statement()         {}
func (*KillLiveQuery) statement()   {}
func (*Kill) statement()            {}
func (*BackupDatabase) statement()  {}
func (*RestoreDatabase) statement() {}
func (*RunJob) statement()          {}
func (*ExportUserData) statement()  {}
func (*CreateTopic) statement()     {}
func (*DropTopic) statement()       {}
func (*ClearTopic) statement()      {}
func (*AlterTopic) statement()      {}
func (*Consume) statement()         {}
func (*Ack) statement()             {}
func (*Cluster) statement()         {}
