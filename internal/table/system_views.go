package table

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// queryViews declares the view of the named queries.
func queryViews() []viewDefinition {
	return []viewDefinition{
		{SystemNamespace, "views", (*System).viewsRows, []viewColumn{
			text("namespace_id"), text("view_name"), bigInt("version"), text("definition"), text("default_namespace"),
			timestamp("created_at"), timestamp("updated_at"),
		}},
	}
}

func (*System) viewsRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, view := range request.Catalog.Views() {
		if t := view.Table; request.Visible(t) {
			rows = append(rows, []datum.Datum{
				textValue(t.Namespace), textValue(t.Name), number(t.Version), textValue(view.Query), textValue(view.Within),
				moment(t.CreatedMicros), moment(t.UpdatedMicros),
			})
		}
	}
	return rows, nil
}

// definition is the query of a view; computed tables have none.
func (r *ViewRequest) definition(t *schema.Table) datum.Datum {
	if view, ok := r.Catalog.View(t.Namespace, t.Name); ok {
		return textValue(view.Query)
	}
	return datum.Datum{}
}
