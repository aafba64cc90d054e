package plan

import "github.com/kalamdb/kalamdb-go/internal/sql/parse"

// tablesOf lists the tables and views that a statement reads, wherever it names them. A name that WITH gives to a query
// of the statement is none of them.
func tablesOf(statement parse.Node) []parse.ObjectName {
	var names []parse.ObjectName
	collectTables(statement, nil, &names)
	return names
}

// commonNames is a chain of the names that WITH has given, the innermost first.
type commonNames struct {
	parent *commonNames
	name   string
}

func (n *commonNames) has(name string) bool {
	for ; n != nil; n = n.parent {
		if n.name == name {
			return true
		}
	}
	return false
}

// collectTables adds what is named below a node, as far as WITH does not know it.
func collectTables(node parse.Node, known *commonNames, names *[]parse.ObjectName) {
	parse.Inspect(node, func(inner parse.Node) bool {
		switch n := inner.(type) {
		case *parse.TableRef:
			if n.Name.Namespace != "" || n.Name.Catalog != "" || !known.has(n.Name.Name) {
				*names = append(*names, n.Name)
			}
		case *parse.Query:
			if n.With == nil {
				return true
			}
			within := known
			for i := range n.With.Tables {
				common := &n.With.Tables[i]
				named := &commonNames{parent: within, name: common.Name}
				if n.With.Recursive {
					collectTables(common.Query, named, names)
				} else {
					collectTables(common.Query, within, names)
				}
				within = named
			}
			rest := *n
			rest.With = nil
			collectTables(&rest, within, names)
			return false
		}
		return true
	})
}
