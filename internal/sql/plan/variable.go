package plan

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// showVariable shows a setting of the session, or all of them.
func showVariable(node *parse.ShowVariable) (Statement, error) {
	text := datum.Of(datum.Text)
	if node.Name == "" {
		all := &Describe{Columns: []Column{{Name: "name", Type: text}, {Name: "value", Type: text}, {Name: "description", Type: text}}}
		for _, setting := range table.SessionSettings() {
			all.Rows = append(all.Rows, []datum.Datum{
				datum.NewText(setting.Name), datum.NewText(setting.Value), datum.NewText(setting.Description),
			})
		}
		return all, nil
	}
	setting, err := sessionSetting(node, node.Name)
	if err != nil {
		return nil, err
	}
	return &Describe{
		Columns: []Column{{Name: setting.Name, Type: text}}, Rows: [][]datum.Datum{{datum.NewText(setting.Value)}},
	}, nil
}

// setVariable accepts a setting that is as it should be; nothing of a session can be changed but its namespace.
func setVariable(node *parse.SetVariable) (Statement, error) {
	setting, err := sessionSetting(node, node.Name)
	if err != nil {
		return nil, err
	}
	for _, value := range node.Values {
		text := parse.Print(value)
		if literal, ok := value.(*parse.StringLiteral); ok {
			text = literal.Value
		}
		if len(node.Values) != 1 || !sameSetting(text, setting.Value) {
			return nil, unsupported(node, "%s is always %s and cannot be set to %s", setting.Name, setting.Value, text)
		}
	}
	return &Notice{Message: "SET"}, nil
}

func resetVariable(node *parse.ResetVariable) (Statement, error) {
	if node.Name != "" {
		if _, err := sessionSetting(node, node.Name); err != nil {
			return nil, err
		}
	}
	return &Notice{Message: "RESET"}, nil
}

func sessionSetting(node parse.Node, name string) (table.Setting, error) {
	for _, setting := range table.SessionSettings() {
		if strings.EqualFold(setting.Name, name) {
			return setting, nil
		}
	}
	return table.Setting{}, at(node, fault.New(fault.NotFound, "unrecognized configuration parameter '%s'", name))
}

// sameSetting compares values as people write them.
func sameSetting(a, b string) bool {
	plain := func(s string) string {
		return strings.NewReplacer("-", "", " ", "", "_", "").Replace(strings.ToLower(s))
	}
	return plain(a) == plain(b) || plain(b) == "on" && plain(a) == "true"
}

// Notice is a statement that changes nothing; its message is the answer.
type Notice struct{ Message string }

func (*Notice) statement() {}
