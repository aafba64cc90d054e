// Package config is the configuration of one node: a tree of structs from which the keys of the file, the
// names of the environment variables, the defaults, the checks and the reference page all come.
//
// A field's tags say everything about it: `toml` is its key, `env` the variables that override it (first
// one set wins), `doc` its meaning and unit, `range` or `oneof` what is allowed, and `secret` that it must
// not be shown. Default holds the default of every field. The order of precedence is: environment, file,
// default.
//
// Load reads and checks a file; nothing else in the program reads configuration from anywhere. A key of
// the file that is not known here is reported once and ignored, so that configuration files of other
// versions work; a known key with a value that is not allowed is refused, with the key, the value and
// what is allowed. A *Config that Load returned is never changed afterwards.
package config

import (
	"net/netip"
	"strings"
	"time"
)

// Config is the whole configuration of one node.
type Config struct {
	Server      Server      `toml:"server"`
	Storage     Storage     `toml:"storage"`
	Limits      Limits      `toml:"limits"`
	Transaction Transaction `toml:"transaction"`
	RateLimit   RateLimit   `toml:"rate_limit"`
	Auth        Auth        `toml:"auth"`
	Security    Security    `toml:"security"`
	Logging     Logging     `toml:"logging"`
	Performance Performance `toml:"performance"`
	Raft        Raft        `toml:"raft"`
	Cluster     Cluster     `toml:"cluster"`
	RPCTLS      RPCTLS      `toml:"rpc_tls"`
}

// Server is the listener for clients.
type Server struct {
	Host                   string `toml:"host" env:"KALAMDB_SERVER_HOST" doc:"Address to listen on for clients. An address that is not loopback needs a strong auth.jwt_secret."`
	Port                   int    `toml:"port" env:"KALAMDB_SERVER_PORT" range:"0..65535" doc:"TCP port for clients; 0 lets the kernel choose."`
	EnableHTTP2            bool   `toml:"enable_http2" doc:"Accept cleartext HTTP/2 beside HTTP/1.1 on the same port."`
	ShutdownTimeoutMillis  int64  `toml:"shutdown_timeout_ms" range:"0..600000" doc:"How long a stopping server waits for requests that are under way, in milliseconds; 0 does not wait."`
	ExposeMetricsRemotely  bool   `toml:"expose_metrics_remotely" doc:"Serve /metrics to peers that are not loopback as well."`
	ReadHeaderTimeoutMilli int64  `toml:"read_header_timeout_ms" range:"100..600000" doc:"How long a client may take to send the head of a request, in milliseconds."`
}

// Storage is where the node keeps its data.
type Storage struct {
	DataPath string `toml:"data_path" env:"KALAMDB_DATA_DIR" doc:"Directory of the node's log and tables; created when missing. One process at a time may use it."`

	MinFreeBytes    int64 `toml:"min_free_bytes" range:"0..1099511627776" doc:"Bytes that must be free on the disk of data_path; below, writes that add data are refused with 507 while reading and deleting go on. 0 means no limit."`
	BlockCacheBytes int64 `toml:"block_cache_bytes" range:"1048576..1099511627776" doc:"Memory for blocks of the tables that were read, in bytes, shared by all reads of hot rows; what was not used for the longest makes room."`
	ColdCacheBytes  int64 `toml:"cold_cache_bytes" range:"1048576..1099511627776" doc:"Memory for decoded values of cold rows, in bytes; what was not used for the longest makes room."`

	CredentialsKey string `toml:"credentials_key" env:"KALAMDB_CREDENTIALS_KEY" secret:"true" doc:"Key that encrypts the credentials of storages in the catalog: base64 of 32 random bytes, the same on every node. Several are separated by commas: the first encrypts, all decrypt. Without one, CREATE STORAGE with CREDENTIALS is refused."`

	ExportKeepHours int64 `toml:"export_keep_hours" range:"1..8760" doc:"Hours for which the file of EXPORT USER DATA can be downloaded; then it is removed."`
	ExportMaxBytes  int64 `toml:"export_max_bytes" range:"1048576..1099511627776" doc:"Bytes that the files of EXPORT USER DATA on this node may take together; an export that needs more fails."`

	HangLimitSecs int64 `toml:"hang_limit_secs" range:"0..86400" doc:"Seconds that a change or a read of the disk may take; then the process ends, since a disk that hangs holds it for ever. 0 means no limit."`
}

// HangLimit returns how long a change or a read of the disk may take, zero for ever.
func (s *Storage) HangLimit() time.Duration { return time.Duration(s.HangLimitSecs) * time.Second }

// Limits bounds single requests.
type Limits struct {
	DefaultQueryLimit int   `toml:"default_query_limit" range:"0..1000000" doc:"Rows returned by a SELECT without LIMIT; 0 means no default limit."`
	MaxQueryLimit     int   `toml:"max_query_limit" range:"0..1000000" doc:"Most rows that one SELECT returns, whatever its LIMIT; 0 means no cap."`
	MaxSQLBytes       int64 `toml:"max_sql_bytes" range:"1024..67108864" doc:"Largest SQL text of one request, in bytes."`
	MaxParams         int   `toml:"max_params" range:"0..10000" doc:"Most parameters of one request."`
	MaxParamBytes     int64 `toml:"max_param_bytes" range:"1024..67108864" doc:"Largest single parameter, in bytes of text."`
	MaxHeaderBytes    int   `toml:"max_header_bytes" range:"4096..1048576" doc:"Largest head of a request, in bytes."`
	QueryMemoryBytes  int64 `toml:"query_memory_bytes" range:"1048576..1099511627776" doc:"Memory that one request may hold in sorts, groups, joins, results and changes, in bytes; one that needs more is refused."`
	NodeMemoryBytes   int64 `toml:"node_query_memory_bytes" range:"1048576..1099511627776" doc:"Memory that all requests and open transactions of this node together may hold so, in bytes; what would exceed it is refused and can be sent again."`
	PlanCacheEntries  int   `toml:"plan_cache_entries" range:"1..1000000" doc:"Plans of statements that are kept to be used again; beyond it an arbitrary one makes room."`

	ChangeBufferEntries int   `toml:"change_buffer_entries" range:"16..10000000" doc:"Newest changes of a group that are kept in memory while live queries of this node follow it; a live query that is further behind reads them from the disk."`
	ChangeBufferBytes   int64 `toml:"change_buffer_bytes" range:"65536..17179869184" doc:"Bytes of the same; the smaller of both bounds holds."`
}

// Transaction bounds explicit transactions.
type Transaction struct {
	TimeoutSeconds     int   `toml:"timeout_seconds" range:"1..86400" doc:"How long a transaction may last, from BEGIN to COMMIT, in seconds; then it is rolled back."`
	IdleTimeoutSeconds int   `toml:"idle_timeout_seconds" range:"1..86400" doc:"How long a transaction may wait for its next request, in seconds; then it is rolled back."`
	MaxBytes           int64 `toml:"max_bytes" range:"1024..1073741824" doc:"Changes and reads that one transaction may hold, in bytes. A transaction is one entry of the log, so the bound of those, 4 MiB, holds too."`
	MaxPerUser         int   `toml:"max_per_user" range:"1..100000" doc:"Transactions that one user may have open on this node; more are refused with 503."`
	MaxPerNode         int   `toml:"max_per_node" range:"1..100000" doc:"Transactions that may be open on this node; more are refused with 503."`
}

// RateLimit bounds what callers may do per second and at once.
type RateLimit struct {
	MaxQueriesPerSec        int   `toml:"max_queries_per_sec" range:"0..10000000" doc:"SQL requests per second of one user; more are refused with 429. 0 means no limit."`
	MaxAuthRequestsPerIP    int   `toml:"max_auth_requests_per_ip_per_sec" env:"KALAMDB_RATE_LIMIT_AUTH_REQUESTS_PER_IP_PER_SEC" range:"0..10000000" doc:"Sign-in, refresh and setup attempts per second of one address; more are refused with 429. 0 means no limit."`
	MaxRequestsPerIP        int   `toml:"max_requests_per_ip_per_sec" range:"0..10000000" doc:"Requests of any kind per second of one address that is not loopback; more are refused with 429. 0 means no limit."`
	MaxConnectionsPerIP     int   `toml:"max_connections_per_ip" range:"0..1000000" doc:"Open connections of one address that is not loopback; more are refused with 503. 0 means no limit."`
	RequestBodyLimitBytes   int64 `toml:"request_body_limit_bytes" range:"1024..1073741824" doc:"Largest body of a request, in bytes; a larger one is refused with 413."`
	MaxTrackedKeys          int   `toml:"max_tracked_keys" range:"16..10000000" doc:"Users and addresses whose rates are remembered; the one idle longest is forgotten first."`
	MaxConcurrentQueries    int   `toml:"max_concurrent_queries" range:"1..1000000" doc:"SQL requests that run at once on this node; more are refused with 503."`
	MaxConcurrentPerUser    int   `toml:"max_concurrent_queries_per_user" range:"1..1000000" doc:"SQL requests of one user that run at once on this node; more are refused with 429, so that one user leaves room for the others."`
	MaxSubscriptionsPerUser int   `toml:"max_subscriptions_per_user" range:"0..1000000" doc:"Live queries of one user at once; 0 means no limit."`
	MaxMessagesPerSec       int   `toml:"max_messages_per_sec" range:"0..1000000" doc:"WebSocket messages per second of one connection; 0 means no limit."`
}

// Auth is how callers prove who they are.
type Auth struct {
	RootPassword              string `toml:"root_password" env:"KALAMDB_ROOT_PASSWORD" secret:"true" doc:"Password that the user root gets at the first start; without it the server asks for setup. It changes nothing once root has a password."`
	JWTSecret                 string `toml:"jwt_secret" env:"KALAMDB_JWT_SECRET" secret:"true" doc:"Key that signs tokens, at least 32 characters, the same on every node of a cluster. Without one, only a server on a loopback address starts; it makes its own."`
	JWTExpiryHours            int    `toml:"jwt_expiry_hours" range:"1..8760" doc:"Life of an access token, in hours."`
	JWTRefreshExpiryHours     int    `toml:"jwt_refresh_expiry_hours" range:"1..87600" doc:"Life of a refresh token, in hours; not less than jwt_expiry_hours."`
	ReuseRefreshTokens        bool   `toml:"reuse_refresh_tokens" doc:"Leave refresh tokens good until they end. Without it, each refresh replaces the refresh token, and one that is shown again later than refresh_grace_secs ends all tokens of its login: somebody has stolen it."`
	RefreshGraceSecs          int    `toml:"refresh_grace_secs" range:"1..3600" doc:"Seconds for which a refresh token that was replaced is still good, for programs that share one and answers that get lost."`
	IssuersFile               string `toml:"issuers_file" env:"KALAMDB_AUTH_ISSUERS_FILE" doc:"JSON file with a list of external issuers (OpenID Connect) whose tokens let the owners of OAUTH accounts in: issuer and audience (a list) are required; provider is what accounts call it; jwks_url or jwks_file say where its keys are, else they are discovered; role_claim names a claim that must hold the role of the account. Read at the start, the same on every node."`
	BcryptCost                int    `toml:"bcrypt_cost" range:"4..31" doc:"Work factor of password hashes; each step doubles the time of a login."`
	AllowRemoteSetup          bool   `toml:"allow_remote_setup" doc:"Let peers that are not loopback run the first setup."`
	CookieSecure              bool   `toml:"cookie_secure" doc:"Mark session cookies Secure when the request came over https."`
	MinPasswordLength         int    `toml:"min_password_length" range:"1..72" doc:"Shortest password that setup accepts, in characters."`
	MaxPasswordLength         int    `toml:"max_password_length" range:"8..72" doc:"Longest password, in bytes; bcrypt reads no more than 72."`
	EnforcePasswordComplexity bool   `toml:"enforce_password_complexity" doc:"Ask for a lower-case letter, an upper-case letter, a digit and another character in every new password."`
	LockoutFailures           int    `toml:"lockout_failures" range:"0..1000" doc:"Failed logins in a row that lock an account; 0 never locks."`
	AuditLogEntries           int    `toml:"audit_log_entries" range:"0..100000" doc:"Newest entries of system.audit_log that are kept; older ones are forgotten. 0 writes none."`
	LockoutMinutes            int    `toml:"lockout_minutes" range:"1..10080" doc:"How long a locked account stays locked, in minutes."`
	UserCleanupDelaySecs      int64  `toml:"user_cleanup_delay_secs" range:"1..31536000" doc:"Seconds after DROP USER until a job removes the user's rows and files and the account for good; until then CREATE USER of the same name finds the rows. More than the longest statement takes."`
}

// Security is how the server treats peers and browsers.
type Security struct {
	TrustedProxyRanges []string `toml:"trusted_proxy_ranges" doc:"Addresses or CIDR ranges whose X-Forwarded-For and X-Real-IP headers are believed, beside loopback."`
	MaxWSMessageBytes  int64    `toml:"max_ws_message_size" range:"1024..67108864" doc:"Largest message of a live connection's client, in bytes; a larger one is refused with MESSAGE_TOO_LARGE and the connection kept."`
	StrictWSOrigin     bool     `toml:"strict_ws_origin_check" doc:"Refuse live connections that name no Origin, as programs that are no browsers do."`
	CORS               CORS     `toml:"cors"`
}

// CORS is what browsers on other origins may do.
type CORS struct {
	AllowedOrigins      []string `toml:"allowed_origins" doc:"Origins that may read answers; * allows all. Empty sends no CORS headers."`
	AllowedMethods      []string `toml:"allowed_methods" doc:"Methods that other origins may use."`
	AllowedHeaders      []string `toml:"allowed_headers" doc:"Request headers that other origins may send; * allows all."`
	ExposeHeaders       []string `toml:"expose_headers" doc:"Answer headers that scripts of other origins may read."`
	AllowCredentials    bool     `toml:"allow_credentials" doc:"Let other origins send cookies; needs named origins."`
	MaxAgeSeconds       int      `toml:"max_age" range:"0..86400" doc:"How long a browser may remember a preflight answer, in seconds."`
	AllowPrivateNetwork bool     `toml:"allow_private_network" doc:"Let public sites reach this server on a private network."`
}

// Logging is what the server writes about itself, to standard error.
type Logging struct {
	Level  string `toml:"level" env:"KALAMDB_LOG_LEVEL" oneof:"debug|info|warn|error" doc:"Least level that is written."`
	Format string `toml:"format" env:"KALAMDB_LOG_FORMAT" oneof:"text|json" doc:"Form of a line."`
}

// Performance is how much of the machine the process takes.
type Performance struct {
	RequestTimeoutSeconds int   `toml:"request_timeout" range:"1..3600" doc:"How long one request may run, in seconds."`
	KeepaliveSeconds      int   `toml:"keepalive_timeout" range:"1..3600" doc:"How long an idle client connection stays open, in seconds."`
	MaxConnections        int   `toml:"max_connections" range:"1..1000000" doc:"Open client connections in all; more are refused with 503."`
	GCPercent             int   `toml:"gc_percent" env:"KALAMDB_GC_PERCENT" range:"-1..10000" doc:"Growth of the heap between garbage collections, in percent; -1 turns it off, which needs memory_limit_bytes; 0 leaves the runtime's setting."`
	MemoryLimitBytes      int64 `toml:"memory_limit_bytes" env:"KALAMDB_MEMORY_LIMIT_BYTES" range:"0..1099511627776" doc:"Soft limit of the process's memory, in bytes; 0 means none."`
}

// Raft is the node's log and the workers that drive its groups; standalone nodes use the log as well.
type Raft struct {
	LogStore               string `toml:"log_store" oneof:"segments|pebble" doc:"What the log is kept in: segments are files of this server's own that are written over in place; pebble is a store of pairs that writes over nothing, for file systems on which that goes wrong. It takes more processor time, several times as much with large rows. Fixed when the data directory is created; nodes of one cluster may differ."`
	LogRetentionEntries    uint64 `toml:"log_retention_entries" range:"0..1000000000" doc:"Log entries of a group that are kept behind what is stored durably, for followers that were away."`
	LogRetentionBytes      int64  `toml:"log_retention_bytes" range:"0..1099511627776" doc:"Bytes of log of a group that are kept for followers that were away; the smaller of both bounds holds."`
	MetaRetentionEntries   uint64 `toml:"meta_log_retention_entries" range:"0..1000000000" doc:"log_retention_entries of the meta group; 0 takes that."`
	MetaRetentionBytes     int64  `toml:"meta_log_retention_bytes" range:"0..1099511627776" doc:"log_retention_bytes of the meta group; 0 takes that."`
	UserRetentionEntries   uint64 `toml:"user_log_retention_entries" range:"0..1000000000" doc:"log_retention_entries of a group of users' private rows; 0 takes that."`
	UserRetentionBytes     int64  `toml:"user_log_retention_bytes" range:"0..1099511627776" doc:"log_retention_bytes of a group of users' private rows; 0 takes that."`
	SharedRetentionEntries uint64 `toml:"shared_log_retention_entries" range:"0..1000000000" doc:"log_retention_entries of a group of shared tables; 0 takes that."`
	SharedRetentionBytes   int64  `toml:"shared_log_retention_bytes" range:"0..1099511627776" doc:"log_retention_bytes of a group of shared tables; 0 takes that."`
	LogSegmentBytes        int64  `toml:"log_segment_bytes" range:"65536..4294967296" doc:"Size of one file of the log, in bytes, the same on all nodes. A statement may change at most a quarter of it, and 4 MiB."`
	LogCacheBytes          int64  `toml:"log_cache_bytes" range:"0..1099511627776" doc:"Memory for the newest entries of all groups' logs, in bytes, so that followers and the applying of entries need not read the disk; 0 keeps none."`
	Workers                int    `toml:"workers" range:"0..1024" doc:"Workers that step groups; 0 means one for every four processors, and at least one."`
	LogPageCache           bool   `toml:"log_page_cache" doc:"Write the log through the operating system's page cache. Off, it is written past it (O_DIRECT) where the file system can do that, which costs less processor time and memory; on is for a file system on which that goes wrong."`
	LogWrites              int    `toml:"log_writes" range:"1..8" doc:"Writes of the log that a worker may have under way: one being synced, the others next. More than one costs throughput on the disks that were measured."`
	SnapshotBytesPerSec    int64  `toml:"snapshot_bytes_per_sec" range:"0..1099511627776" doc:"Bytes of snapshots that this node sends in a second, all together; 0 means no limit."`
	BalanceLeaders         bool   `toml:"balance_leaders" doc:"Spread leaderships evenly over the nodes; false leaves them where elections and operators put them."`
	MaxWaitingProposals    int    `toml:"max_waiting_proposals" range:"1..1000000" doc:"Writes of one group that wait for their result; more are refused with 503 and Retry-After."`
	MaxWaitingBytes        int64  `toml:"max_waiting_bytes" range:"65536..17179869184" doc:"Bytes of the same; more are refused likewise."`
	MaxFollowerLag         uint64 `toml:"max_follower_lag_entries" range:"100..1000000000" doc:"Log entries that a live follower may be behind before writes of the group are refused with 503, as they are when it lacks four times log_retention_bytes of the group, but not less than 64 MiB. The log keeps what it lacks, so it needs no snapshot."`
}

// Values of Raft.LogStore.
const (
	LogSegments = "segments"
	LogPebble   = "pebble"
)

// Cluster is the node's place among others. Without cluster_id the node is standalone.
type Cluster struct {
	ClusterID               string         `toml:"cluster_id" env:"KALAMDB_CLUSTER_ID" doc:"Name of the cluster, the same on all nodes; empty means standalone."`
	NodeID                  uint64         `toml:"node_id" env:"KALAMDB_NODE_ID,KALAMDB_CLUSTER_NODE_ID" range:"1..9007199254740991" doc:"Number of this node; every node has its own and keeps it when its disk is replaced."`
	RPCAddr                 string         `toml:"rpc_addr" env:"KALAMDB_CLUSTER_RPC_ADDR" doc:"host:port on which this node listens for its peers and at which they reach it."`
	APIAddr                 string         `toml:"api_addr" env:"KALAMDB_CLUSTER_API_ADDR" doc:"host:port or URL at which clients and peers reach this node's HTTP port; empty means server.host and server.port."`
	Peers                   []Peer         `toml:"peers" env:"KALAMDB_CLUSTER_PEERS" doc:"The other nodes; an entry for this node itself is allowed. In the environment: id@rpc@api;id@rpc@api."`
	Join                    Join           `toml:"join" env:"KALAMDB_CLUSTER_JOIN" doc:"true or a list of addresses: never found a cluster, but join the one that the peers or the addresses belong to, or, without any, the one that invites this node. An address is host:port, where a DNS name may lead to several nodes, or the name of an SRV record such as _kalamdb._tcp.example.org; names are looked up again until the node is a member. Without it the node with the lowest node_id founds the cluster once all peers have answered, and the others join it. In the environment: true, or addresses separated by commas."`
	UserShards              int            `toml:"user_shards" range:"1..10000" doc:"Groups that hold users' private rows. Fixed when the data directory is created; standalone nodes use it too."`
	SharedShards            int            `toml:"shared_shards" range:"1..10000" doc:"Groups that hold shared tables. Fixed when the data directory is created; standalone nodes use it too."`
	RequestWindow           uint64         `toml:"request_window" range:"1024..1048576" doc:"Log entries of a group for which the results of requests are remembered at least, so that a request that is sent again is answered and not run again; one that may be older is refused. Fixed when the data directory is created; standalone nodes use it too."`
	HeartbeatIntervalMillis int64          `toml:"heartbeat_interval_ms" range:"10..60000" doc:"Time between a leader's heartbeats, in milliseconds."`
	ElectionTimeoutMillis   []int64        `toml:"election_timeout_ms" doc:"Least and greatest time without a heartbeat after which a follower asks for an election, in milliseconds: the first in line after the least, the last one after the greatest; half as long again for the meta group. At least twice the heartbeat. A node counts as dead after twice the greatest."`
	ReplicationMode         string         `toml:"replication_mode" oneof:"quorum|all" doc:"When a write is acknowledged: quorum once a majority has it on disk, all once every voter has applied it too. A request can ask for another mode. What the server writes for itself always uses quorum."`
	MetaReplicationMode     string         `toml:"meta_replication_mode" oneof:"default|quorum|all" doc:"The same for the meta group: namespaces, tables, users, jobs; default takes replication_mode."`
	UserReplicationMode     string         `toml:"user_replication_mode" oneof:"default|quorum|all" doc:"The same for users' private rows; default takes replication_mode."`
	SharedReplicationMode   string         `toml:"shared_replication_mode" oneof:"default|quorum|all" doc:"The same for shared tables; default takes replication_mode."`
	ReadLevel               string         `toml:"read_level" oneof:"linearizable|lease|bounded|local" doc:"What a SELECT outside a transaction sees: linearizable is everything that was acknowledged before it, confirmed by a majority; lease the same while clocks run alike, without asking a majority each time; bounded everything that was acknowledged until max_staleness_ms ago; local what the node that answers has. A request can ask for another level. Everything else is always linearizable."`
	MaxStalenessMillis      int64          `toml:"max_staleness_ms" range:"1..600000" doc:"The bound of the read level bounded, in milliseconds."`
	ReplicationTimeoutMilli int64          `toml:"replication_timeout_ms" range:"100..600000" doc:"How long a write waits to be replicated before its caller is told that the outcome is unknown, in milliseconds."`
	SnapshotPolicy          SnapshotPolicy `toml:"snapshot_policy" doc:"When a group's log is cut: LogsSinceLast(N) once it holds N entries that are stored durably, if raft.log_retention_entries does not cut it earlier; or Never."`
	MaxSnapshotsToKeep      int            `toml:"max_snapshots_to_keep" range:"0..1000" doc:"Snapshots that this node receives at once, which lie on its disk until they are installed; more wait. 0 counts as 1."`
	ReconnectIntervalMillis int64          `toml:"reconnect_interval_ms" range:"10..600000" doc:"Longest pause between attempts to reach a peer, in milliseconds."`
	PeerWaitMaxRetries      int            `toml:"peer_wait_max_retries" range:"0..1000000" doc:"Attempts of a node that is no member yet to find its cluster, after which it warns; it goes on trying."`
	PeerWaitInitialMillis   int64          `toml:"peer_wait_initial_delay_ms" range:"1..600000" doc:"Pause after the first failed attempt, in milliseconds; it doubles."`
	PeerWaitMaxDelayMillis  int64          `toml:"peer_wait_max_delay_ms" range:"1..600000" doc:"Longest such pause, in milliseconds."`
	AllowInsecureRPC        bool           `toml:"allow_insecure_rpc" env:"KALAMDB_CLUSTER_ALLOW_INSECURE_RPC" doc:"Speak to peers without TLS although rpc_addr is not loopback. Anyone who reaches the port can then change data."`
}

// Peer is one node of the cluster as configuration names it.
type Peer struct {
	NodeID  uint64 `toml:"node_id"`
	RPCAddr string `toml:"rpc_addr"`
	APIAddr string `toml:"api_addr"`
}

// RPCTLS is the identity of this node among its peers.
type RPCTLS struct {
	Enabled           bool   `toml:"enabled" env:"KALAMDB_RPC_TLS_ENABLED" doc:"Use TLS between nodes. Each certificate names its node: the URI kalamdb://<cluster_id>/node/<node_id>, as kalamdb cert makes it, or the common name node-<node_id>."`
	CACert            string `toml:"ca_cert" env:"KALAMDB_RPC_TLS_CA_CERT" doc:"File with the certificates that sign peers' certificates, PEM."`
	ServerCert        string `toml:"server_cert" env:"KALAMDB_RPC_TLS_SERVER_CERT" doc:"File with this node's certificate chain, PEM."`
	ServerKey         string `toml:"server_key" env:"KALAMDB_RPC_TLS_SERVER_KEY" doc:"File with this node's private key, PEM."`
	RequireClientCert bool   `toml:"require_client_cert" env:"KALAMDB_RPC_TLS_REQUIRE_CLIENT_CERT" doc:"Refuse peers that show no certificate."`
}

// Default returns the configuration of a node without file and environment.
func Default() *Config {
	return &Config{
		Server: Server{
			Host: "127.0.0.1", Port: 8080, EnableHTTP2: true,
			ShutdownTimeoutMillis: 15_000, ReadHeaderTimeoutMilli: 10_000,
		},
		Storage: Storage{DataPath: "./data", MinFreeBytes: 256 << 20, HangLimitSecs: 30, BlockCacheBytes: 64 << 20, ColdCacheBytes: 64 << 20, ExportKeepHours: 24, ExportMaxBytes: 10 << 30},
		Limits: Limits{
			DefaultQueryLimit: 50, MaxQueryLimit: 1000,
			MaxSQLBytes: 1 << 20, MaxParams: 50, MaxParamBytes: 512 << 10, MaxHeaderBytes: 64 << 10,
			QueryMemoryBytes: 256 << 20, NodeMemoryBytes: 1 << 30, PlanCacheEntries: 1024,
			ChangeBufferEntries: 16_384, ChangeBufferBytes: 8 << 20,
		},
		Transaction: Transaction{TimeoutSeconds: 300, IdleTimeoutSeconds: 60, MaxBytes: 100 << 20, MaxPerUser: 16, MaxPerNode: 256},
		RateLimit: RateLimit{
			MaxQueriesPerSec: 100, MaxAuthRequestsPerIP: 20, MaxRequestsPerIP: 200, MaxConnectionsPerIP: 100,
			RequestBodyLimitBytes: 10 << 20, MaxTrackedKeys: 100_000, MaxConcurrentQueries: 1024, MaxConcurrentPerUser: 512,
			MaxSubscriptionsPerUser: 10, MaxMessagesPerSec: 50,
		},
		Auth: Auth{
			JWTExpiryHours: 24, JWTRefreshExpiryHours: 7 * 24, BcryptCost: 12, CookieSecure: true,
			MinPasswordLength: 8, MaxPasswordLength: 72, LockoutFailures: 5, LockoutMinutes: 15, AuditLogEntries: 10_000,
			RefreshGraceSecs:     60,
			UserCleanupDelaySecs: 3600,
		},
		Security: Security{MaxWSMessageBytes: 1 << 20, CORS: CORS{
			AllowedMethods: []string{"GET", "POST", "OPTIONS"},
			AllowedHeaders: []string{"Authorization", "Content-Type", "X-Request-ID", "X-Transaction-ID", "Idempotency-Key", "Idempotency-Age"},
			ExposeHeaders:  []string{"X-Transaction-ID"},
			MaxAgeSeconds:  3600,
		}},
		Logging: Logging{Level: "info", Format: "text"},
		Performance: Performance{
			RequestTimeoutSeconds: 30, KeepaliveSeconds: 75, MaxConnections: 25_000,
			GCPercent: 400, MemoryLimitBytes: 4 << 30,
		},
		Raft: Raft{
			LogStore: LogSegments, LogRetentionEntries: 10_000, LogRetentionBytes: 64 << 20, LogSegmentBytes: 64 << 20, LogCacheBytes: 64 << 20, LogWrites: 1,
			BalanceLeaders: true, MaxWaitingProposals: 8192, MaxWaitingBytes: 64 << 20, MaxFollowerLag: 50_000,
		},
		Cluster: Cluster{
			NodeID: 1, RPCAddr: "127.0.0.1:9188", UserShards: 32, SharedShards: 1, RequestWindow: 16_384,
			HeartbeatIntervalMillis: 250, ElectionTimeoutMillis: []int64{500, 1000},
			ReplicationMode: "quorum", MetaReplicationMode: "default", UserReplicationMode: "default",
			SharedReplicationMode: "default", ReplicationTimeoutMilli: 5000,
			ReadLevel: "linearizable", MaxStalenessMillis: 1000,
			SnapshotPolicy: SnapshotPolicy{LogsSinceLast: 10_000}, MaxSnapshotsToKeep: 3,
			ReconnectIntervalMillis: 3000, PeerWaitMaxRetries: 60, PeerWaitInitialMillis: 500, PeerWaitMaxDelayMillis: 2000,
		},
		RPCTLS: RPCTLS{RequireClientCert: true},
	}
}

// Standalone reports whether the node runs alone, without consensus.
func (c *Config) Standalone() bool { return c.Cluster.ClusterID == "" }

// Loopback reports whether clients can reach the server from its own machine only.
func (s Server) Loopback() bool { return isLoopbackHost(s.Host) }

// ShutdownTimeout is how long a stopping server waits for requests under way.
func (s Server) ShutdownTimeout() time.Duration { return millis(s.ShutdownTimeoutMillis) }

// HeartbeatInterval is the time between a leader's heartbeats.
func (c Cluster) HeartbeatInterval() time.Duration { return millis(c.HeartbeatIntervalMillis) }

// ElectionTimeout returns the bounds of the election timeout.
func (c Cluster) ElectionTimeout() (least, greatest time.Duration) {
	return millis(c.ElectionTimeoutMillis[0]), millis(c.ElectionTimeoutMillis[1])
}

// ReplicationTimeout is how long a write waits to be replicated.
func (c Cluster) ReplicationTimeout() time.Duration { return millis(c.ReplicationTimeoutMilli) }

// ReconnectInterval is the longest pause between attempts to reach a peer.
func (c Cluster) ReconnectInterval() time.Duration { return millis(c.ReconnectIntervalMillis) }

// PeerWait returns the first and the longest pause of a node that looks for its cluster.
func (c Cluster) PeerWait() (first, longest time.Duration) {
	return millis(c.PeerWaitInitialMillis), millis(c.PeerWaitMaxDelayMillis)
}

// Others returns the peers without this node itself.
func (c Cluster) Others() []Peer {
	others := make([]Peer, 0, len(c.Peers))
	for _, peer := range c.Peers {
		if peer.NodeID != c.NodeID {
			others = append(others, peer)
		}
	}
	return others
}

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func isLoopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}
