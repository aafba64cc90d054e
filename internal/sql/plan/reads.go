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
	// within goes on with what stands behind a WITH; without one there is nothing to know, and the walk goes on itself.
	within := func(with *parse.With, rest parse.Node) bool {
		if with != nil {
			collectTables(rest, collectWith(with, known, names), names)
		}
		return with == nil
	}
	parse.Inspect(node, func(inner parse.Node) bool {
		switch n := inner.(type) {
		case *parse.TableRef:
			if n.Name.Namespace != "" || n.Name.Catalog != "" || !known.has(n.Name.Name) {
				*names = append(*names, n.Name)
			}
		case *parse.Query:
			rest := *n
			rest.With = nil
			return within(n.With, &rest)
		case *parse.WithChanges:
			collectTables(n.Main, collectWith(n.With, known, names), names)
			return false
		case *parse.Insert:
			rest := *n
			rest.With = nil
			return within(n.With, &rest)
		case *parse.Update:
			rest := *n
			rest.With = nil
			return within(n.With, &rest)
		case *parse.Delete:
			rest := *n
			rest.With = nil
			return within(n.With, &rest)
		}
		return true
	})
}

// collectWith adds what the queries of a WITH name, and returns the names that are known behind it.
func collectWith(with *parse.With, known *commonNames, names *[]parse.ObjectName) *commonNames {
	for i := range with.Tables {
		common := &with.Tables[i]
		named := &commonNames{parent: known, name: common.Name}
		switch {
		case common.Change != nil:
			collectTables(common.Change, known, names)
		case with.Recursive:
			collectTables(common.Query, named, names)
		default:
			collectTables(common.Query, known, names)
		}
		known = named
	}
	return known
}
