package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Analyze runs a query for what its nodes do, and gives that in the place of its rows.
type Analyze struct {
	Query *Query
}

func (*Analyze) statement() {}

// ExplainColumns are the columns of the answer to EXPLAIN.
func ExplainColumns() []Column {
	text := datum.Of(datum.Text)
	return []Column{{Name: "plan_type", Type: text}, {Name: "plan", Type: text}}
}

// explain prints the plan of a statement, or orders it to be run and measured.
func (e *Environment) explain(node *parse.Explain) (Statement, error) {
	if node.Format != "" && node.Format != "text" {
		return nil, unsupported(node, "EXPLAIN (FORMAT %s) is not supported; leave FORMAT out", node.Format)
	}
	if _, nested := node.Statement.(*parse.Explain); nested {
		return nil, invalid(node.Statement, "EXPLAIN cannot explain EXPLAIN")
	}
	inner, err := BuildAuthorized(e, node.Statement)
	if err != nil {
		return nil, err
	}
	if node.Analyze {
		query, ok := inner.(*Query)
		if !ok {
			return nil, unsupported(node, "EXPLAIN ANALYZE carries the statement out, so it is for queries only; use EXPLAIN for changes")
		}
		return &Analyze{Query: query}, nil
	}
	return &Describe{
		Columns: ExplainColumns(),
		Rows:    [][]datum.Datum{{datum.NewText("physical_plan"), datum.NewText(Print(inner))}},
	}, nil
}
