package catalog

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// ObjectName names a table or a view.
type ObjectName struct {
	Namespace, Name string
}

// String prints namespace.name.
func (n ObjectName) String() string { return n.Namespace + "." + n.Name }

// View is a named query.
type View struct {
	// Table is what it looks like: its name, columns, version and times. Its kind is schema.KindView.
	Table *schema.Table
	// Query is its text, in which no * is left, and Within the namespace of the names in it that have none.
	Query  string
	Within string
	// Uses are the tables and views of the catalog that it names.
	Uses []ObjectName
	// Restricted says that it names a computed table that only administrators read.
	Restricted bool
}

// Name is the view's own name.
func (v *View) Name() ObjectName { return ObjectName{v.Table.Namespace, v.Table.Name} }

// ViewToProto converts to the stored form.
func ViewToProto(v *View) *commandv1.View {
	p := &commandv1.View{
		Namespace: v.Table.Namespace, Name: v.Table.Name, Query: v.Query, Within: v.Within, Version: v.Table.Version,
		CreatedMicros: v.Table.CreatedMicros, UpdatedMicros: v.Table.UpdatedMicros, Restricted: v.Restricted,
	}
	for i := range v.Table.Columns {
		column := &v.Table.Columns[i]
		kind := typeToProto(column.Type)
		kind.Elem = uint32(column.Type.Elem)
		p.Columns = append(p.Columns, &commandv1.Column{Id: column.ID, Name: column.Name, Type: kind, Nullable: true})
	}
	for _, used := range v.Uses {
		p.Uses = append(p.Uses, &commandv1.ObjectName{Namespace: used.Namespace, Name: used.Name})
	}
	return p
}

// ViewFromProto converts from the stored form and refuses what no view can be.
func ViewFromProto(p *commandv1.View) (*View, error) {
	v := &View{Query: p.GetQuery(), Within: p.GetWithin(), Restricted: p.GetRestricted(), Table: &schema.Table{
		Namespace: p.GetNamespace(), Name: p.GetName(), Kind: schema.KindView, Version: p.GetVersion(),
		CreatedMicros: p.GetCreatedMicros(), UpdatedMicros: p.GetUpdatedMicros(),
	}}
	if v.Table.Namespace == "" || v.Table.Name == "" || v.Query == "" || len(p.GetColumns()) == 0 {
		return nil, fmt.Errorf("%w: view without a name, query or columns", errMalformed)
	}
	names := map[string]bool{}
	for _, column := range p.GetColumns() {
		columnType, err := viewTypeFromProto(column.GetType())
		if err != nil {
			return nil, fmt.Errorf("view %s, column %q: %w", v.Name(), column.GetName(), err)
		}
		if column.GetName() == "" || names[column.GetName()] {
			return nil, fmt.Errorf("%w: view %s has a column without a name or twice: %q", errMalformed, v.Name(), column.GetName())
		}
		names[column.GetName()] = true
		v.Table.Columns = append(v.Table.Columns, schema.Column{
			ID: column.GetId(), Name: column.GetName(), Type: columnType, Nullable: true,
		})
	}
	v.Table.NextColumnID = uint32(len(v.Table.Columns) + 1) //nolint:gosec // bounded by the text of the query
	for _, used := range p.GetUses() {
		v.Uses = append(v.Uses, ObjectName{used.GetNamespace(), used.GetName()})
	}
	return v, nil
}

// viewTypeFromProto is typeFromProto for columns of queries, which may be arrays and intervals too.
func viewTypeFromProto(p *commandv1.Type) (datum.Type, error) {
	switch kind := p.GetKind(); {
	case kind == uint32(datum.Interval):
		return datum.Of(datum.Interval), nil
	case kind == uint32(datum.Array) && p.GetElem() <= uint32(datum.Interval):
		return datum.Type{Kind: datum.Array, Elem: datum.Kind(p.GetElem())}, nil //nolint:gosec // checked above
	case kind > math.MaxUint8:
		return datum.Type{}, fmt.Errorf("%w: unknown type %d", errMalformed, kind)
	}
	return typeFromProto(p)
}

// View returns a view by name.
func (c *Catalog) View(namespace, name string) (*View, bool) {
	return c.views.get(tableName(namespace, name))
}

// Views lists the views by namespace and name.
func (c *Catalog) Views() []*View { return c.views.values() }

// ViewsIn lists the views of a namespace by name.
func (c *Catalog) ViewsIn(namespace string) []*View {
	var list []*View
	c.views.ascend(tableName(namespace, ""), func(_ string, v *View) bool {
		if v.Table.Namespace != namespace {
			return false
		}
		list = append(list, v)
		return true
	})
	return list
}

// Readers lists the views that read a table or view, directly or through others, by namespace and name.
func (c *Catalog) Readers(of ObjectName) []*View {
	all := c.views.values()
	var found []*View
	wanted := []ObjectName{of}
	for len(wanted) > 0 {
		next := wanted[0]
		wanted = wanted[1:]
		for _, v := range all {
			if slices.Contains(v.Uses, next) && !slices.Contains(found, v) {
				found = append(found, v)
				wanted = append(wanted, v.Name())
			}
		}
	}
	slices.SortFunc(found, func(a, b *View) int {
		return cmp.Or(cmp.Compare(a.Table.Namespace, b.Table.Namespace), cmp.Compare(a.Table.Name, b.Table.Name))
	})
	return found
}

// SetView adds or replaces a view.
func (e *Editor) SetView(v *View) {
	e.views = e.views.set(tableName(v.Table.Namespace, v.Table.Name), v)
}

// DeleteView removes a view.
func (e *Editor) DeleteView(name ObjectName) {
	e.views = e.views.remove(tableName(name.Namespace, name.Name))
}
