package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// createIndex adds an index to the descriptor of a table, in a state in which new rows go into it and nobody reads
// it. The older ones are added when the command is applied; then it is ready.
func (e *Environment) createIndex(node *parse.CreateIndex) (Statement, error) {
	found, err := e.lookup(node.Table)
	if err != nil {
		return nil, err
	}
	if err = e.authorizeAlter(node, node.Table); err != nil {
		return nil, err
	}
	switch {
	case node.Where != nil:
		return nil, unsupported(node.Where, "an index over some of the rows (WHERE) is not supported")
	case node.Method != "" && node.Method != "btree":
		return nil, unsupported(node, "index method '%s' is not supported; leave USING out", node.Method)
	case len(node.Options) > 0:
		return nil, invalid(node.Options[0], "unknown index option %s", strings.ToUpper(node.Options[0].Name))
	case node.Name.Namespace != "" && node.Name.Namespace != found.Namespace:
		return nil, invalid(node.Name, "an index is in the namespace of its table, '%s'", found.Namespace)
	}
	a := &alteration{env: e, old: found, next: found.Clone(), meta: &Meta{}}
	columns := make([]parse.Ident, len(node.Columns))
	for i, key := range node.Columns {
		ref, ok := key.Expr.(*parse.ColumnRef)
		if !ok || ref.Table != "" {
			return nil, unsupported(key.Expr, "an index is made of columns, not of expressions")
		}
		columns[i] = parse.Ident{Pos: ref.Pos, Name: ref.Name}
	}
	name := node.Name.Name
	if name == "" {
		name = indexName(found, columns, node.Unique)
	}
	if e.indexTable(found.Namespace, name) != nil {
		if node.IfNotExists {
			return &Done{Message: fmt.Sprintf("Index '%s.%s' already exists", found.Namespace, name)}, nil
		}
		return nil, at(node, fault.New(fault.AlreadyExists, "Index '%s.%s' already exists", found.Namespace, name))
	}
	if err = addIndex(a.next, node, name, columns, node.Unique); err != nil {
		return nil, err
	}
	// A row with an entry is of a later version, so that statements which do not know the index yet cannot take it away and leave the
	// entry. The groups are fenced against them only after some others know it.
	a.next.Version++
	return a.statement(fmt.Sprintf("Index '%s.%s' created successfully", found.Namespace, name)), nil
}

// addIndex checks an index and puts it into the descriptor.
func addIndex(descriptor *schema.Table, node parse.Node, name string, columns []parse.Ident, unique bool) error {
	if err := checkObjectName(node, "index", name); err != nil {
		return err
	}
	switch {
	case len(descriptor.Indexes) >= schema.MaxIndexes:
		return invalid(node, "a table has at most %d indexes", schema.MaxIndexes)
	case len(columns) > schema.MaxIndexColumns:
		return invalid(node, "an index has at most %d columns, got %d", schema.MaxIndexColumns, len(columns))
	case descriptor.PrimaryKey() < 0 || descriptor.Kind == schema.KindStream:
		return unsupported(node, "table '%s' is a STREAM table or has no primary key, and cannot have an index", descriptor.FullName())
	}
	x := schema.Index{ID: max(descriptor.NextIndexID, 1), Name: name, Unique: unique, State: schema.IndexBuilding}
	for _, named := range columns {
		position, ok := descriptor.Column(named.Name)
		if !ok {
			return invalid(named, "column '%s' not found in table '%s'", named.Name, descriptor.FullName())
		}
		column := &descriptor.Columns[position]
		if slices.Contains(x.Columns, column.ID) {
			return invalid(named, "column '%s' is named twice", named.Name)
		}
		if kind := column.Type.Kind; kind == datum.JSON || kind == datum.File || kind == datum.Embedding {
			return invalid(named, "column '%s' of type %s cannot be in an index", named.Name, kind)
		}
		x.Columns = append(x.Columns, column.ID)
	}
	descriptor.NextIndexID = x.ID + 1
	descriptor.Indexes = append(descriptor.Indexes, x)
	return nil
}

// indexName makes the name of an index that was given none.
func indexName(found *schema.Table, columns []parse.Ident, unique bool) string {
	parts := []string{found.Name}
	for _, column := range columns {
		parts = append(parts, column.Name)
	}
	suffix := "_idx"
	if unique {
		suffix = "_key"
	}
	name := strings.Join(parts, "_")
	return name[:min(len(name), maxNameBytes-len(suffix))] + suffix
}

// indexTable finds the table that has an index of a name.
func (e *Environment) indexTable(namespace, name string) *schema.Table {
	for _, candidate := range e.Catalog.TablesIn(namespace) {
		if _, ok := candidate.Index(name); ok {
			return candidate
		}
	}
	return nil
}

func (e *Environment) dropIndex(node *parse.DropIndex) (Statement, error) {
	namespace, name := e.tableName(node.Name)
	found := e.indexTable(namespace, name)
	if found == nil || !e.canSee(found) {
		if node.IfExists {
			return &Done{Message: fmt.Sprintf("Index '%s.%s' does not exist", namespace, name)}, nil
		}
		return nil, at(node.Name, fault.New(fault.NotFound, "Index '%s.%s' not found", namespace, name))
	}
	if err := e.authorizeAlter(node, parse.ObjectName{Pos: node.Name.Pos, Namespace: namespace, Name: found.Name}); err != nil {
		return nil, err
	}
	a := &alteration{env: e, old: found, next: found.Clone(), meta: &Meta{}}
	position, _ := a.next.Index(name)
	a.next.Indexes[position].State = schema.IndexRetiring
	return a.statement(fmt.Sprintf("Index '%s.%s' dropped successfully", namespace, name)), nil
}
