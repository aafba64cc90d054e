package table

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Objects finds the objects of pg_catalog by their ids and names, as one caller may know them. It collects them when the first one
// is asked for, and belongs to one goroutine.
type Objects struct {
	system    *System
	request   *ViewRequest
	namespace string // of names without one
	ids       map[expr.ObjectKind]map[string]int64
	names     map[expr.ObjectKind]map[int64]string
	texts     map[expr.DefinitionKind]map[int64]string
	indexes   map[int64]tableIndex
}

// Objects returns the objects that a caller may know of. Names without a namespace are looked for in the given one and in pg_catalog.
func (s *System) Objects(request *ViewRequest, namespace string) *Objects {
	return &Objects{system: s, request: request, namespace: namespace}
}

// ObjectID finds an object by its name.
func (o *Objects) ObjectID(kind expr.ObjectKind, name string) (int64, bool) {
	o.collect()
	parts := nameParts(name)
	if len(parts) == 3 && parts[0] == databaseName || kind == expr.TypeObject && len(parts) == 2 && parts[0] == PostgresNamespace {
		parts = parts[1:]
	}
	for _, candidate := range []string{
		strings.Join(parts, "."), o.namespace + "." + strings.Join(parts, "."), PostgresNamespace + "." + strings.Join(parts, "."),
	} {
		if id, ok := o.ids[kind][candidate]; ok {
			return id, true
		}
	}
	return 0, false
}

// ObjectName is the name of an object. That of a relation is qualified, except in the namespace of the caller.
func (o *Objects) ObjectName(kind expr.ObjectKind, id int64) (string, bool) {
	o.collect()
	name, ok := o.names[kind][id]
	return name, ok
}

// ObjectDefinition is an object as SQL.
func (o *Objects) ObjectDefinition(kind expr.DefinitionKind, id int64) (string, bool) {
	o.collect()
	text, ok := o.texts[kind][id]
	return text, ok
}

// IndexColumn is the name of a column of an index, which counts them from one.
func (o *Objects) IndexColumn(id, place int64) (string, bool) {
	o.collect()
	index, ok := o.indexes[id]
	if !ok || place < 1 || place > int64(len(index.positions)) {
		return "", false
	}
	return parse.QuoteName(index.table.Columns[index.positions[place-1]].Name), true
}

// ObjectSetting is the value of a setting of the session.
func (o *Objects) ObjectSetting(name string) (string, bool) {
	if strings.EqualFold(name, "search_path") {
		return o.namespace, true
	}
	for _, setting := range SessionSettings() {
		if strings.EqualFold(setting.Name, name) {
			return setting.Value, true
		}
	}
	return "", false
}

// nameParts takes the parts of a name out of their quotes, and folds those that have none.
func nameParts(name string) []string {
	var parts []string
	for name != "" {
		var part string
		if quoted, found := strings.CutPrefix(name, `"`); found {
			part, name, _ = strings.Cut(quoted, `"`)
			name = strings.TrimPrefix(name, ".")
		} else {
			part, name, _ = strings.Cut(name, ".")
			part = strings.ToLower(part)
		}
		parts = append(parts, part)
	}
	return parts
}

func (o *Objects) collect() {
	if o.ids != nil {
		return
	}
	o.ids, o.names = map[expr.ObjectKind]map[string]int64{}, map[expr.ObjectKind]map[int64]string{}
	o.indexes = map[int64]tableIndex{}
	o.texts = map[expr.DefinitionKind]map[int64]string{expr.IndexDefinition: {}, expr.ConstraintDefinition: {}, expr.ViewDefinition: {}}
	for _, t := range o.system.allTables(o.request) {
		o.relation(t.Namespace, t.Name, tableOID(t))
		if definition := o.request.definition(t); !definition.IsNull() {
			o.texts[expr.ViewDefinition][tableOID(t)] = definition.Str()
		}
	}
	for _, x := range o.request.indexes() {
		o.relation(x.table.Namespace, x.name, x.oid())
		o.texts[expr.IndexDefinition][x.oid()] = x.definition()
		o.indexes[x.oid()] = x
	}
	for _, x := range o.request.constraints() {
		o.texts[expr.ConstraintDefinition][x.constraintOID()] = x.constraintKind() + " (" + x.columnNames() + ")"
	}
	for _, namespace := range o.system.namespaces(o.request) {
		o.add(expr.NamespaceObject, namespace, namespaceOID(namespace))
	}
	for _, row := range roleRows() {
		o.add(expr.RoleObject, row[1].Str(), row[0].Int())
	}
	for _, t := range postgresTypes() {
		o.add(expr.TypeObject, t.name, t.oid)
		if spelled := expr.PostgresTypeNames()[t.oid]; spelled != "" {
			o.add(expr.TypeObject, spelled, t.oid)
		}
	}
}

func (o *Objects) relation(namespace, name string, id int64) {
	shown := parse.QuoteName(namespace) + "." + parse.QuoteName(name)
	if namespace == o.namespace || namespace == PostgresNamespace {
		shown = parse.QuoteName(name)
	}
	o.add(expr.RelationObject, shown, id)
	o.ids[expr.RelationObject][namespace+"."+name] = id
}

// add knows an object by the name that is added last.
func (o *Objects) add(kind expr.ObjectKind, name string, id int64) {
	if o.ids[kind] == nil {
		o.ids[kind], o.names[kind] = map[string]int64{}, map[int64]string{}
	}
	o.ids[kind][name], o.names[kind][id] = id, name
}
