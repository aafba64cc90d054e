package table

import (
	"context"
	"strconv"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// storageViews declares the views of storages, of what lies in them, of topics and of the audit log.
func storageViews() []viewDefinition {
	return []viewDefinition{
		{SystemNamespace, "audit_log", (*System).auditRows, []viewColumn{
			text("audit_id"), timestamp("timestamp"), text("actor_user_id"), text("action"), text("target"), orNull(text("details")),
			orNull(text("ip_address")), orNull(text("subject_user_id")),
		}},
		{SystemNamespace, "manifest", (*System).manifestRows, []viewColumn{
			text("cache_key"), text("namespace_id"), text("table_name"), text("scope"), orNull(text("etag")),
			timestamp("last_refreshed"), timestamp("last_accessed"), boolean("in_memory"), text("sync_state"),
			jsonText("manifest_json"),
		}},
		{SystemNamespace, "storages", (*System).storagesRows, []viewColumn{
			text("storage_id"), text("storage_name"), orNull(text("description")), text("storage_type"), text("base_directory"),
			orNull(jsonText("credentials")), orNull(jsonText("config_json")), text("shared_tables_template"),
			text("user_tables_template"), timestamp("created_at"), timestamp("updated_at"),
		}},
		{SystemNamespace, "topic_offsets", (*System).noRows, []viewColumn{
			text("topic_id"), text("group_id"), integer("partition_id"), bigInt("last_acked_offset"), timestamp("updated_at"),
		}},
		{SystemNamespace, "topics", (*System).noRows, []viewColumn{
			text("topic_id"), text("name"), orNull(text("alias")), integer("partitions"), orNull(bigInt("retention_seconds")),
			orNull(bigInt("retention_max_bytes")), jsonText("routes"), timestamp("created_at"), timestamp("updated_at"),
		}},
	}
}

// manifestRows lists the scopes that have cold rows, as this node knows them.
func (*System) manifestRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	if request.Catalog.Cluster() == nil {
		return nil, nil
	}
	err := request.read(func(reader storage.Reader) error {
		scopes, err := cold.Scopes(request.Catalog, reader, request.Catalog.Cluster().Shards.Groups())
		for i := range scopes {
			s := &scopes[i]
			content, failure := s.JSON(request.Catalog.Owner())
			if failure != nil {
				return failure
			}
			scope := "shared"
			if s.User != "" {
				scope = string(s.User)
			}
			updated := moment(s.Manifest.GetUpdatedMicros())
			rows = append(rows, []datum.Datum{
				textValue(s.Table.FullName() + ":" + scope), textValue(s.Table.Namespace), textValue(s.Table.Name), textValue(scope),
				textValue(strconv.FormatUint(s.Manifest.GetVersion(), 10)), updated, updated, datum.NewBool(true), textValue("in_sync"),
				optionalJSON(string(content)),
			})
		}
		return err
	})
	return rows, err
}

// noRows is a view of things of which this server has none.
func (*System) noRows(context.Context, *ViewRequest) ([][]datum.Datum, error) { return nil, nil }

func (*System) storagesRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, s := range request.Catalog.Storages() {
		rows = append(rows, []datum.Datum{
			textValue(s.ID), textValue(s.Name), optionalText(s.Description), textValue(s.Type), textValue(s.BaseDirectory),
			maskedJSON(s.Credentials), optionalJSON(s.Config), textValue(s.SharedTemplate), textValue(s.UserTemplate),
			moment(s.CreatedMicros), moment(s.UpdatedMicros),
		})
	}
	return rows, nil
}

// maskedJSON shows that there is a secret, and nothing of it, to administrators too.
func maskedJSON(secret string) datum.Datum {
	if secret != "" {
		secret = `"***"`
	}
	return optionalJSON(secret)
}

// auditRows lists the newest entry last.
func (*System) auditRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	err := request.read(func(reader storage.Reader) error {
		entries, err := catalog.LoadAudit(reader)
		for _, entry := range entries {
			rows = append(rows, []datum.Datum{
				textValue(catalog.AuditID(entry)), moment(entry.GetAtMicros()), textValue(entry.GetActor()), textValue(entry.GetAction()),
				textValue(entry.GetTarget()), optionalText(entry.GetDetails()), optionalText(entry.GetIpAddress()),
				optionalText(entry.GetSubject()),
			})
		}
		return err
	})
	return rows, err
}
