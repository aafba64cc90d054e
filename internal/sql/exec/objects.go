package exec

import (
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// objects are those of the catalog that the caller may know of.
func (r *run) objects() *table.Objects {
	if r.state.objects == nil {
		request := &table.ViewRequest{Catalog: r.catalog, Visible: r.canSee, Snapshot: r.engine.deps.Storage.NewSnapshot}
		r.state.objects = r.engine.views.Objects(request, r.session.Namespace)
	}
	return r.state.objects
}

// canSee reports whether the caller may know of a table or view.
func (r *run) canSee(found *schema.Table) bool {
	return plan.CanSeeNamed(r.catalog, r.session.Role, found)
}

// stopped says why the statement must not go on: for expressions, which take long at times and have no context.
func (r *run) stopped() error {
	if r.state.ctx == nil {
		return nil
	}
	return r.state.ctx.Err()
}

// ObjectID finds an object for an expression.
func (r *run) ObjectID(kind expr.ObjectKind, name string) (int64, bool) {
	return r.objects().ObjectID(kind, name)
}

// ObjectName names an object for an expression.
func (r *run) ObjectName(kind expr.ObjectKind, id int64) (string, bool) {
	return r.objects().ObjectName(kind, id)
}

// ObjectDefinition prints an object for an expression.
func (r *run) ObjectDefinition(kind expr.DefinitionKind, id int64) (string, bool) {
	return r.objects().ObjectDefinition(kind, id)
}

// IndexColumn names a column of an index to an expression.
func (r *run) IndexColumn(id, place int64) (string, bool) { return r.objects().IndexColumn(id, place) }

// ObjectSetting tells a setting to an expression.
func (r *run) ObjectSetting(name string) (string, bool) { return r.objects().ObjectSetting(name) }
