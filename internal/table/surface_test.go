package table_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// clientViews are the objects of system that clients of the original read, with their columns in order, written down apart from the
// code. Behind a column: T text, B bigint, I int, S smallint, J json, W timestamp, L boolean, F float; a question mark says that it may be NULL.
func clientViews() map[string]string {
	return map[string]string{
		"users": "user_id T, password_hash T, role T, email T?, auth_type T, auth_data J?, storage_mode T, storage_id T?, failed_login_attempts I, " +
			"locked_until W?, last_login_at W?, created_at W, updated_at W, last_seen W?, deleted_at W?",
		"namespaces": "namespace_id T, name T, created_at W, options J?, table_count I",
		"schemas": "table_id T, table_name T, namespace_id T, table_type T, created_at W, schema_version I, columns J, table_comment T?, updated_at W, " +
			"options J?, access_level T?, is_latest L, storage_id T?, use_user_storage L?",
		"tables": "namespace_id T, table_name T, table_type T, storage_id T?, version B, options T?, comment T?, updated_at W, created_at W",
		"columns": "namespace_id T, table_name T, version B, column_id B, column_name T, comment T?, data_type T, default_value T?, ordinal B, " +
			"nullable L, primary_key L, primary_key_pos B?",
		"storages": "storage_id T, storage_name T, description T?, storage_type T, base_directory T, credentials J?, config_json J?, " +
			"shared_tables_template T, user_tables_template T, created_at W, updated_at W",
		"jobs": "job_id T, job_type T, status T, leader_status T?, parameters J?, message T?, exception_trace T?, idempotency_key T?, queue T?, " +
			"priority I?, retry_count S, max_retries S, memory_used B?, cpu_used B?, created_at W, updated_at W, started_at W?, finished_at W?, " +
			"node_id B, leader_node_id B?",
		"job_nodes": "job_id T, node_id B, status T, error_message T?, created_at W, started_at W?, finished_at W?, updated_at W",
		"audit_log": "audit_id T, timestamp W, actor_user_id T, action T, target T, details T?, ip_address T?, subject_user_id T?",
		"manifest": "cache_key T, namespace_id T, table_name T, scope T, etag T?, last_refreshed W, last_accessed W, in_memory L, sync_state T, " +
			"manifest_json J",
		"topics":        "topic_id T, name T, alias T?, partitions I, retention_seconds B?, retention_max_bytes B?, routes J, created_at W, updated_at W",
		"topic_offsets": "topic_id T, group_id T, partition_id I, last_acked_offset B, updated_at W",
		"live": "live_id T, connection_id T, subscription_id T, namespace_id T, table_name T, user_id T, query T, options J?, status T, created_at W, " +
			"last_update W, changes B, node_id B, last_ping_at W?",
		"sessions": "session_id T, backend_pid I?, current_schema T?, state T, transaction_id T?, transaction_state T?, transaction_has_writes L, " +
			"client_addr T?, transport T, opened_at W, last_seen_at W, last_method T?",
		"transactions": "transaction_id T, owner_id T, origin T, state T, age_ms B, idle_ms B, write_count B, write_bytes B, touched_tables_count B, " +
			"snapshot_commit_seq B?",
		"cluster": "cluster_id T, node_id B, role T, status T, rpc_addr T, api_addr T, is_self L, is_leader L, groups_leading I, total_groups I, " +
			"current_term B?, last_applied_log B?, leader_last_log_index B?, snapshot_index B?, catchup_progress_pct I?, replication_lag B?, hostname T?, " +
			"version T?, memory_mb B?, memory_usage_mb B?, cpu_usage_percent F?, uptime_seconds B?, uptime_human T?, os T?, arch T?",
		"cluster_groups": "group_id B, cluster_id T, node_id B, group_type T, current_term B?, vote J?, last_log_index B?, last_applied B?, snapshot B?, " +
			"purged B?, committed B?, state T?, current_leader B?, millis_since_quorum_ack B?",
		"stats":       "metric_name T, metric_value T",
		"settings":    "name T, value T, description T, category T",
		"server_logs": "timestamp T, level T, thread T?, target T?, line B?, message T",
		"datatypes":   "arrow_type T, kalam_type T, sql_name T, description T",
		"describe": "column_name T, ordinal_position I, column_id B, data_type T, is_nullable L, is_primary_key L, column_default T?, " +
			"column_comment T?, schema_version I",
	}
}

// TestViewsAreThoseOfClients compares every object with what clients expect. Columns beyond that stand behind the others, and only
// those that are named here.
func TestViewsAreThoseOfClients(t *testing.T) {
	t.Parallel()
	letters := map[datum.Kind]string{
		datum.Text: "T", datum.BigInt: "B", datum.Int: "I", datum.SmallInt: "S", datum.JSON: "J", datum.Timestamp: "W", datum.Boolean: "L", datum.Float: "F",
	}
	beyond := map[string]string{
		"jobs": "progress_percent I", "sessions": "user_id T",
		"cluster_groups": "lag_entries B?, lag_bytes B?, lag_ms B?, propose_ms F?, snapshot_bytes_sent B?, snapshot_bytes_received B?, snapshot_progress_pct I?",
	}
	system := table.NewSystem(table.SystemOptions{})
	for name, columns := range clientViews() {
		view := system.View(table.SystemNamespace, name)
		if view == nil {
			t.Errorf("system.%s is missing", name)
			continue
		}
		var got []string
		for i := range view.Columns {
			c := &view.Columns[i]
			null := ""
			if c.Nullable {
				null = "?"
			}
			got = append(got, c.Name+" "+letters[c.Type.Kind]+null)
		}
		want := strings.Split(columns, ", ")
		if more := beyond[name]; more != "" {
			want = append(want, strings.Split(more, ", ")...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("system.%s has\n%s\nwant\n%s", name, strings.Join(got, ", "), strings.Join(want, ", "))
		}
	}
	for alias, name := range map[string]string{"table_schemas": "schemas", "live_queries": "live"} {
		if found := system.View(table.SystemNamespace, alias); found == nil || found.Name != name {
			t.Errorf("system.%s is not system.%s", alias, name)
		}
	}
}
