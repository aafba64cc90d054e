package table

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// visibleTables lists the tables of the catalog that the caller may know of, by namespace and name.
func (r *ViewRequest) visibleTables() []*schema.Table {
	var list []*schema.Table
	for _, t := range r.Catalog.Tables() {
		if r.Visible(t) {
			list = append(list, t)
		}
	}
	return list
}

func (s *System) usersRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, user := range request.Catalog.Users(true) {
		rows = append(rows, []datum.Datum{
			textValue(string(user.ID)), textValue(user.PasswordHash), textValue(user.Role.String()), optionalText(user.Email),
			textValue(user.AuthType), optionalJSON(user.AuthData), textValue("table"),
			{},
			small(user.FailedLogins),
			instant(user.LockedUntilMicros), instant(user.LastLoginMicros), datum.NewInt(datum.Timestamp, user.CreatedMicros),
			datum.NewInt(datum.Timestamp, user.UpdatedMicros),
			{},
			instant(user.DeletedMicros),
		})
	}
	return rows, nil
}

func (s *System) namespacesRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, namespace := range request.Catalog.Namespaces() {
		options, err := optionsJSON(namespace.Options)
		if err != nil {
			return nil, err
		}
		count := 0
		for _, t := range request.Catalog.TablesIn(namespace.Name) {
			if request.Visible(t) {
				count++
			}
		}
		rows = append(rows, []datum.Datum{
			textValue(namespace.Name), textValue(namespace.Name), datum.NewInt(datum.Timestamp, namespace.CreatedMicros),
			options, small(count),
		})
	}
	return rows, nil
}

func (s *System) tablesRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, t := range request.visibleTables() {
		options, err := optionsJSON(t.Options)
		if err != nil {
			return nil, err
		}
		if !options.IsNull() {
			options = textValue(options.Str())
		}
		rows = append(rows, []datum.Datum{
			textValue(t.Namespace), textValue(t.Name), textValue(t.Kind.String()), optionalText(t.Options["STORAGE_ID"]),
			number(t.Version), options,
			{},
			datum.NewInt(datum.Timestamp, t.UpdatedMicros),
			datum.NewInt(datum.Timestamp, t.CreatedMicros),
		})
	}
	return rows, nil
}

func (s *System) columnsRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, t := range request.visibleTables() {
		for i := range t.Columns {
			column := &t.Columns[i]
			keyPosition := datum.Datum{}
			if column.PrimaryKey {
				keyPosition = number(1)
			}
			rows = append(rows, []datum.Datum{
				textValue(t.Namespace), textValue(t.Name), number(t.Version), number(column.ID), textValue(column.Name),
				{},
				textValue(column.Type.String()), defaultValue(column.Default), number(i + 1), datum.NewBool(column.Nullable),
				datum.NewBool(column.PrimaryKey), keyPosition,
			})
		}
	}
	return rows, nil
}

// schemaColumn is one element of system.schemas.columns.
type schemaColumn struct {
	ID         uint32  `json:"column_id"`
	Name       string  `json:"column_name"`
	Ordinal    int     `json:"ordinal_position"`
	Type       string  `json:"data_type"`
	Nullable   bool    `json:"is_nullable"`
	PrimaryKey bool    `json:"is_primary_key"`
	Default    *string `json:"default_value"`
}

// schemasRows gives a row for each version of each table, the newest last.
func (s *System) schemasRows(_ context.Context, request *ViewRequest) (rows [][]datum.Datum, err error) {
	visible := request.visibleTables()
	err = request.read(func(reader storage.Reader) error {
		for _, t := range visible {
			replaced, failure := catalog.LoadVersions(reader, t.ID)
			if failure != nil {
				return failure
			}
			for _, version := range replaced {
				if version.Version >= t.Version {
					break // the store is newer than the catalog of the statement
				}
				if rows, failure = appendSchema(rows, version, false); failure != nil {
					return failure
				}
			}
			if rows, failure = appendSchema(rows, t, true); failure != nil {
				return failure
			}
		}
		return nil
	})
	return rows, err
}

// appendSchema appends the row of one version of a table.
func appendSchema(rows [][]datum.Datum, t *schema.Table, latest bool) ([][]datum.Datum, error) {
	columns := make([]schemaColumn, len(t.Columns))
	for i := range t.Columns {
		column := &t.Columns[i]
		columns[i] = schemaColumn{
			ID: column.ID, Name: column.Name, Ordinal: i + 1, Type: column.Type.String(), Nullable: column.Nullable,
			PrimaryKey: column.PrimaryKey,
		}
		if printed, ok := DefaultText(column.Default); ok {
			columns[i].Default = &printed
		}
	}
	encoded, err := json.Marshal(columns)
	if err != nil {
		return nil, fmt.Errorf("columns of %s: %w", t.FullName(), err)
	}
	options, err := optionsJSON(t.Options)
	if err != nil {
		return nil, err
	}
	access := datum.Datum{}
	if t.Kind == schema.KindShared {
		access = textValue(t.Access.String())
	}
	return append(rows, []datum.Datum{
		textValue(t.FullName()), textValue(t.Name), textValue(t.Namespace), textValue(t.Kind.String()),
		datum.NewInt(datum.Timestamp, t.CreatedMicros), small(t.Version), datum.NewString(datum.JSON, string(encoded)),
		{},
		datum.NewInt(datum.Timestamp, t.UpdatedMicros), options, access, datum.NewBool(latest),
		optionalText(t.Options["STORAGE_ID"]), optionalBool(t.Options["USE_USER_STORAGE"]),
	}), nil
}

func (s *System) settingsRows(context.Context, *ViewRequest) ([][]datum.Datum, error) {
	rows := make([][]datum.Datum, 0, len(s.options.Settings))
	for _, setting := range s.options.Settings {
		rows = append(rows, []datum.Datum{
			textValue(setting.Name), textValue(setting.Value), textValue(setting.Description), textValue(setting.Category),
		})
	}
	return rows, nil
}

func (s *System) statsRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	stats := catalogStats(request.Catalog)
	jobs, err := jobStats(request)
	if err != nil {
		return nil, err
	}
	stats = append(stats, jobs...)
	stats = append(stats, Stat{"node_id", strconv.FormatUint(uint64(s.options.Node), 10)})
	if s.options.Stats != nil {
		stats = append(stats, s.options.Stats()...)
	}
	rows := make([][]datum.Datum, 0, len(stats))
	for _, stat := range stats {
		rows = append(rows, []datum.Datum{textValue(stat.Name), textValue(stat.Value)})
	}
	return rows, nil
}

func catalogStats(current *catalog.Catalog) []Stat {
	return []Stat{
		{"total_users", strconv.Itoa(current.UserCount())},
		{"total_namespaces", strconv.Itoa(len(current.Namespaces()))},
		{"total_tables", strconv.Itoa(len(current.Tables()))},
		{"total_storages", strconv.Itoa(len(current.Storages()))},
		{"catalog_index", strconv.FormatUint(current.Index(), 10)},
	}
}

// jobStats counts the jobs that are remembered. One that waits for its next try counts as queued.
func jobStats(request *ViewRequest) ([]Stat, error) {
	jobs, err := request.allJobs()
	if err != nil {
		return nil, err
	}
	var queued, running, failed int
	for _, job := range jobs {
		switch catalog.JobState(job.GetState()) { //nolint:exhaustive // the others are not due, or have ended otherwise
		case catalog.JobQueued, catalog.JobRetrying:
			queued++
		case catalog.JobRunning:
			running++
		case catalog.JobFailed:
			failed++
		}
	}
	return []Stat{
		{"total_jobs", strconv.Itoa(len(jobs))},
		{"jobs_queued", strconv.Itoa(queued)},
		{"jobs_running", strconv.Itoa(running)},
		{"jobs_failed", strconv.Itoa(failed)},
	}, nil
}

// DefaultText prints a column's default as SQL; ok is false when there is none.
func DefaultText(value schema.Default) (printed string, ok bool) {
	switch value.Kind {
	case schema.DefaultNone:
		return "", false
	case schema.DefaultLiteral:
		return value.Literal.String(), true
	case schema.DefaultNow:
		return "NOW()", true
	case schema.DefaultSnowflake:
		return "SNOWFLAKE_ID()", true
	case schema.DefaultUUIDv7:
		return "UUID_V7()", true
	case schema.DefaultULID:
		return "ULID()", true
	case schema.DefaultCurrentUser:
		return "CURRENT_USER()", true
	}
	return "", false
}

func defaultValue(value schema.Default) datum.Datum {
	printed, ok := DefaultText(value)
	if !ok {
		return datum.Datum{}
	}
	return textValue(printed)
}

// optionsJSON prints options as a JSON object with sorted names; NULL when there are none.
func optionsJSON(options map[string]string) (datum.Datum, error) {
	if len(options) == 0 {
		return datum.Datum{}, nil
	}
	encoded, err := json.Marshal(options)
	if err != nil {
		return datum.Datum{}, fmt.Errorf("options: %w", err)
	}
	return datum.NewString(datum.JSON, string(encoded)), nil
}

func optionalJSON(v string) datum.Datum {
	if v == "" {
		return datum.Datum{}
	}
	return datum.NewString(datum.JSON, v)
}

func optionalBool(v string) datum.Datum {
	parsed, err := strconv.ParseBool(v)
	if err != nil {
		return datum.Datum{}
	}
	return datum.NewBool(parsed)
}
