package plan

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Subscribe is an order to check a live query and to say where it is subscribed to.
type Subscribe struct{ SQL string }

func (*Subscribe) statement() {}

// KillLive is an order to end a live query.
type KillLive struct{ ID string }

func (*KillLive) statement() {}

// SubscribeColumns are the columns of the answer to SUBSCRIBE TO.
func SubscribeColumns() []Column {
	return []Column{
		{Name: "status", Type: datum.Of(datum.Text)},
		{Name: "ws_url", Type: datum.Of(datum.Text)},
		{Name: "subscription", Type: datum.Of(datum.JSON)},
		{Name: "message", Type: datum.Of(datum.Text)},
	}
}

// subscribe checks the options; the query is checked by who would run it. An unqualified table is taken from the
// default namespace, so that the text stands for itself.
func (e *Environment) subscribe(node *parse.Subscribe) (Statement, error) {
	for _, option := range node.Options {
		name := strings.ToLower(option.Name)
		if name != "last_rows" && name != "batch_size" && name != "from" && name != "from_seq_id" {
			return nil, invalid(option, "option %s of SUBSCRIBE TO must be last_rows, batch_size or from", option.Name)
		}
		value, ok := option.Value.(*parse.IntegerLiteral)
		if !ok || value.Value < 0 {
			return nil, invalid(option, "option %s of SUBSCRIBE TO needs a whole number", option.Name)
		}
	}
	if body, ok := node.Query.Body.(*parse.Select); ok && len(body.From) == 1 {
		if ref, ok := body.From[0].(*parse.TableRef); ok && ref.Name.Namespace == "" {
			ref.Name.Namespace, _ = e.tableName(ref.Name)
		}
	}
	return &Subscribe{SQL: parse.Print(node.Query)}, nil
}
