package table

// systemViews declares the views of the namespace system, in ascending name. Column order is what
// SELECT * shows.
func systemViews() []viewDefinition {
	return []viewDefinition{
		{SystemNamespace, "cluster", (*System).clusterRows, []viewColumn{
			text("cluster_id"), bigInt("node_id"), text("role"), text("status"), text("rpc_addr"), text("api_addr"),
			boolean("is_self"), boolean("is_leader"), integer("groups_leading"), integer("total_groups"),
			orNull(bigInt("current_term")), orNull(bigInt("last_applied_log")), orNull(bigInt("leader_last_log_index")),
			orNull(bigInt("snapshot_index")), orNull(integer("catchup_progress_pct")), orNull(bigInt("replication_lag")),
			orNull(text("hostname")), orNull(text("version")), orNull(bigInt("memory_mb")), orNull(bigInt("memory_usage_mb")),
			orNull(float("cpu_usage_percent")), orNull(bigInt("uptime_seconds")), orNull(text("uptime_human")),
			orNull(text("os")), orNull(text("arch")),
		}},
		{SystemNamespace, "cluster_groups", (*System).clusterGroupsRows, []viewColumn{
			bigInt("group_id"), text("cluster_id"), bigInt("node_id"), text("group_type"), orNull(bigInt("current_term")),
			orNull(jsonText("vote")), orNull(bigInt("last_log_index")), orNull(bigInt("last_applied")),
			orNull(bigInt("snapshot")), orNull(bigInt("purged")), orNull(bigInt("committed")), orNull(text("state")),
			orNull(bigInt("current_leader")), orNull(bigInt("millis_since_quorum_ack")),
			orNull(bigInt("lag_entries")), orNull(bigInt("lag_bytes")), orNull(bigInt("lag_ms")), orNull(float("propose_ms")),
			orNull(bigInt("snapshot_bytes_sent")), orNull(bigInt("snapshot_bytes_received")), orNull(integer("snapshot_progress_pct")),
		}},
		{SystemNamespace, "columns", (*System).columnsRows, []viewColumn{
			text("namespace_id"), text("table_name"), bigInt("version"), bigInt("column_id"), text("column_name"),
			orNull(text("comment")), text("data_type"), orNull(text("default_value")), bigInt("ordinal"),
			boolean("nullable"), boolean("primary_key"), orNull(bigInt("primary_key_pos")),
		}},
		{SystemNamespace, "namespaces", (*System).namespacesRows, []viewColumn{
			text("namespace_id"), text("name"), timestamp("created_at"), orNull(jsonText("options")), integer("table_count"),
		}},
		{SystemNamespace, "schemas", (*System).schemasRows, []viewColumn{
			text("table_id"), text("table_name"), text("namespace_id"), text("table_type"), timestamp("created_at"),
			integer("schema_version"), jsonText("columns"), orNull(text("table_comment")), timestamp("updated_at"),
			orNull(jsonText("options")), orNull(text("access_level")), boolean("is_latest"), orNull(text("storage_id")),
			orNull(boolean("use_user_storage")),
		}},
		{SystemNamespace, "settings", (*System).settingsRows, []viewColumn{text("name"), text("value"), text("description"), text("category")}},
		{SystemNamespace, "stats", (*System).statsRows, []viewColumn{text("metric_name"), text("metric_value")}},
		{SystemNamespace, "table_digests", (*System).tableDigestsRows, []viewColumn{
			text("namespace_id"), text("table_name"), bigInt("table_id"), bigInt("group_id"), bigInt("node_id"),
			orNull(bigInt("applied_index")), bigInt("row_count"), text("digest"),
		}},
		{SystemNamespace, "tables", (*System).tablesRows, []viewColumn{
			text("namespace_id"), text("table_name"), text("table_type"), orNull(text("storage_id")), bigInt("version"),
			orNull(text("options")), orNull(text("comment")), timestamp("updated_at"), timestamp("created_at"),
		}},
		{SystemNamespace, "users", (*System).usersRows, []viewColumn{
			text("user_id"), text("password_hash"), text("role"), orNull(text("email")), text("auth_type"),
			orNull(jsonText("auth_data")), text("storage_mode"), orNull(text("storage_id")), integer("failed_login_attempts"),
			orNull(timestamp("locked_until")), orNull(timestamp("last_login_at")), timestamp("created_at"),
			timestamp("updated_at"), orNull(timestamp("last_seen")), orNull(timestamp("deleted_at")),
		}},
	}
}
