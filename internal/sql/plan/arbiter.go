package plan

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// primaryKeySuffix ends the name of the constraint of a primary key, as in pg_constraint.
const primaryKeySuffix = "_pkey"

// arbiters finds what ON CONFLICT is about. A list of columns stands for everything that keeps just these columns unique, whatever their
// order; a condition behind it may choose among partial indexes, of which there are none, so it leaves the others.
func (b *queryBuilder) arbiters(conflict *Conflict, clause *parse.OnConflict, found *schema.Table, alias string) error {
	if found.PrimaryKey() < 0 {
		return invalid(clause, "ON CONFLICT needs a table with a primary key")
	}
	switch {
	case clause.Constraint != "":
		return conflict.constraint(clause, found)
	case len(clause.Columns) == 0 && conflict.Update:
		return invalid(clause, "ON CONFLICT DO UPDATE needs the columns of the primary key or of a unique index in parentheses, or ON CONSTRAINT and a name")
	case len(clause.Columns) == 0:
		conflict.Any = true
		return nil
	}
	if clause.TargetWhere != nil {
		scope, _ := tableScope(found, alias)
		if _, err := expr.BindCondition(clause.TargetWhere, scope, b.scoped("WHERE", scope, nil)); err != nil {
			return err
		}
	}
	return conflict.columns(clause, found)
}

// columns makes arbiters of all that keeps the columns of a target unique.
func (c *Conflict) columns(clause *parse.OnConflict, found *schema.Table) error {
	var wanted []uint32
	for _, column := range clause.Columns {
		position, ok := found.Column(column.Name)
		if !ok {
			return invalid(column, "column '%s' not found in table '%s'", column.Name, found.FullName())
		}
		if id := found.Columns[position].ID; !slices.Contains(wanted, id) {
			wanted = append(wanted, id)
		}
	}
	slices.Sort(wanted)
	c.Key = len(wanted) == 1 && wanted[0] == found.Columns[found.PrimaryKey()].ID
	for i := range found.Indexes {
		x := &found.Indexes[i]
		if x.Unique && x.State == schema.IndexReady && slices.Equal(slices.Sorted(slices.Values(x.Columns)), wanted) {
			c.Indexes = append(c.Indexes, x.ID)
		}
	}
	if !c.Key && len(c.Indexes) == 0 {
		return invalid(clause.Columns[0], "ON CONFLICT must name the primary key column or the columns of a unique index; "+
			"without columns, DO NOTHING heeds every unique index")
	}
	return nil
}

// constraint makes the arbiter of a constraint: the primary key, or a unique index by its name.
func (c *Conflict) constraint(clause *parse.OnConflict, found *schema.Table) error {
	if clause.Constraint == found.Name+primaryKeySuffix {
		c.Key = true
		return nil
	}
	position, ok := found.Index(clause.Constraint)
	if !ok || !found.Indexes[position].Unique {
		return invalid(clause, "constraint %q not found in table '%s': ON CONFLICT heeds %q of the primary key and unique indexes",
			clause.Constraint, found.FullName(), found.Name+primaryKeySuffix)
	}
	if x := &found.Indexes[position]; x.State != schema.IndexReady {
		return unsupported(clause, "constraint %q is being built; ON CONFLICT can name it when that is done", x.Name)
	}
	c.Indexes = []uint32{found.Indexes[position].ID}
	return nil
}

// Heeds reports whether an index is an arbiter.
func (c *Conflict) Heeds(index uint32) bool { return c.Any || slices.Contains(c.Indexes, index) }
