package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
)

// Health tells how the node and its cluster are.
type Health interface {
	// Ready says whether clients should be sent here. It must answer at once, from what is known.
	Ready(ctx context.Context) Readiness
	// Cluster describes the cluster as this node sees it.
	Cluster(ctx context.Context) (ClusterHealth, error)
}

// Readiness is the answer of /readyz: ready, or why not.
type Readiness struct {
	Ready   bool        `json:"ready"`
	Reasons []NotReady  `json:"reasons,omitempty"` // one for each group or part that is not ready
	Groups  *GroupCount `json:"groups,omitempty"`
}

// GroupCount says how many groups are ready.
type GroupCount struct {
	Total int `json:"total"`
	Ready int `json:"ready"`
}

// NotReady is one reason why the node is not ready.
type NotReady struct {
	GroupID uint64 `json:"group_id,omitempty"` // zero for the node as a whole
	Reason  string `json:"reason"`
}

// Statuses of a cluster or node.
const (
	StatusHealthy   = "healthy"
	StatusDegraded  = "degraded"
	StatusUnhealthy = "unhealthy"
)

// ClusterHealth is the answer of /v1/api/cluster/health. Pointers are null when nothing is known. Version
// and BuildDate are filled in by the server.
type ClusterHealth struct {
	Status               string       `json:"status"` // healthy, degraded or unhealthy
	Version              string       `json:"version"`
	BuildDate            string       `json:"build_date"`
	IsClusterMode        bool         `json:"is_cluster_mode"`
	ClusterID            string       `json:"cluster_id"`
	NodeID               uint64       `json:"node_id"`
	IsLeader             bool         `json:"is_leader"` // of the meta group
	TotalGroups          int          `json:"total_groups"`
	GroupsLeading        int          `json:"groups_leading"`
	CurrentTerm          *uint64      `json:"current_term"`
	LastApplied          *uint64      `json:"last_applied"`
	MillisSinceQuorumAck *int64       `json:"millis_since_quorum_ack"`
	Nodes                []NodeHealth `json:"nodes"`
}

// NodeHealth is one node in a ClusterHealth.
type NodeHealth struct {
	NodeID             uint64   `json:"node_id"`
	Role               string   `json:"role"` // leader, follower, learner …
	Status             string   `json:"status"`
	APIAddr            string   `json:"api_addr"`
	IsSelf             bool     `json:"is_self"`
	IsLeader           bool     `json:"is_leader"`
	ReplicationLag     *uint64  `json:"replication_lag"`
	CatchupProgressPct *uint8   `json:"catchup_progress_pct"`
	Hostname           *string  `json:"hostname"`
	MemoryUsageMB      *uint64  `json:"memory_usage_mb"`
	CPUUsagePercent    *float32 `json:"cpu_usage_percent"`
	UptimeSeconds      *uint64  `json:"uptime_seconds"`
	UptimeHuman        *string  `json:"uptime_human"`
}

// apiVersion is the version of the surface that clients check.
const apiVersion = "v1"

// handleHealth says that the process answers; it says nothing about data.
func (s *Server) handleHealth(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Status     string `json:"status"`
		Version    string `json:"version"`
		APIVersion string `json:"api_version"`
		BuildDate  string `json:"build_date"`
	}{StatusHealthy, s.config.Build.Version, apiVersion, s.config.Build.Date})
}

func (s *Server) handleLive(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}

// handleReady tells everyone whether to send clients here, and why not to peers on this machine.
func (s *Server) handleReady(w http.ResponseWriter, r *http.Request) {
	readiness := s.config.Health.Ready(r.Context())
	status := http.StatusOK
	if !readiness.Ready {
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	}
	if !peerIsLoopback(r) {
		readiness = Readiness{Ready: readiness.Ready}
	}
	writeJSON(w, status, readiness)
}

func (s *Server) handleClusterHealth(w http.ResponseWriter, r *http.Request) {
	health, err := s.config.Health.Cluster(r.Context())
	if err != nil {
		failure := s.failureOf(r, err)
		failure.setRetryAfter(w)
		writePlainError(w, failure.status, string(failure.code), failure.generic)
		return
	}
	health.Version, health.BuildDate = s.config.Build.Version, s.config.Build.Date
	if health.Nodes == nil {
		health.Nodes = []NodeHealth{}
	}
	writeJSON(w, http.StatusOK, health)
}

// writeJSON answers with a small document that is not made of rows.
func writeJSON(w http.ResponseWriter, status int, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		// Only a document type that cannot be encoded comes here, which tests would have shown.
		status, body = http.StatusInternalServerError, []byte(`{"error":"internal_error","message":"The answer could not be encoded"}`)
	}
	header := w.Header()
	header.Set("Content-Type", contentTypeJSON)
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away is no failure of ours
}

// writePlainError answers with the error shape of routes other than SQL.
func writePlainError(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}{code, message})
}
