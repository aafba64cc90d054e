package applier

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// The bounds of views.
const (
	maxViews          = 4096     // of a cluster
	maxViewQueryBytes = 64 << 10 // of the text of one
	maxViewUses       = 256      // tables and views that one names
)

func (c *metaCall) putView(view *catalog.View) error {
	c.SetView(view)
	return c.put(keys.View(view.Table.Namespace, view.Table.Name), catalog.ViewToProto(view))
}

func (c *metaCall) removeView(view *catalog.View) error {
	c.DeleteView(view.Name())
	return c.batch.Delete(keys.View(view.Table.Namespace, view.Table.Name))
}

func (c *metaCall) createView(body *commandv1.CreateView) (*commandv1.Response, error) {
	view, err := catalog.ViewFromProto(body.GetView())
	if err != nil {
		return command.Refuse(fault.InvalidStatement, "the view cannot be created: %v", err), nil
	}
	name := view.Name()
	if _, exists := c.Namespace(name.Namespace); !exists {
		return command.Refuse(fault.TableNotFound, "Namespace '%s' not found", name.Namespace), nil
	}
	if _, exists := c.Table(name.Namespace, name.Name); exists {
		return command.Refuse(fault.AlreadyExists, "Table '%s' already exists", name), nil
	}
	old, exists := c.View(name.Namespace, name.Name)
	switch {
	case exists && body.GetIfNotExists():
		return done("View '%s' already exists", name), nil
	case exists && !body.GetOrReplace():
		return command.Refuse(fault.AlreadyExists, "View '%s' already exists", name), nil
	case len(view.Query) > maxViewQueryBytes:
		return command.Refuse(fault.LimitExceeded, "the query of a view has at most %d bytes", maxViewQueryBytes), nil
	case len(view.Uses) > maxViewUses:
		return command.Refuse(fault.LimitExceeded, "a view reads at most %d tables", maxViewUses), nil
	case !exists && len(c.Views()) >= maxViews:
		return command.Refuse(fault.LimitExceeded, "a cluster can have %d views; drop one that is not used", maxViews), nil
	}
	readers := c.Readers(name)
	for _, used := range view.Uses {
		if !c.hasObject(used) {
			return altered(), nil
		}
		if used == name || slices.ContainsFunc(readers, func(v *catalog.View) bool { return v.Name() == used }) {
			return command.Refuse(fault.InvalidStatement, "View '%s' would read itself", name), nil
		}
	}
	view.Table.Version, view.Table.CreatedMicros, view.Table.UpdatedMicros = 1, c.now, c.now
	if !exists {
		return done("View '%s' created successfully", name), c.putView(view)
	}
	view.Table.Version, view.Table.CreatedMicros = old.Table.Version+1, old.Table.CreatedMicros
	return done("View '%s' replaced successfully", name), c.putView(view)
}

// hasObject reports whether there is a table or view of a name.
func (c *metaCall) hasObject(name catalog.ObjectName) bool {
	if _, exists := c.Table(name.Namespace, name.Name); exists {
		return true
	}
	_, exists := c.View(name.Namespace, name.Name)
	return exists
}

func (c *metaCall) dropView(body *commandv1.DropView) (*commandv1.Response, error) {
	name := catalog.ObjectName{Namespace: body.GetNamespace(), Name: body.GetName()}
	view, exists := c.View(name.Namespace, name.Name)
	if !exists {
		if _, isTable := c.Table(name.Namespace, name.Name); isTable {
			return command.Refuse(fault.InvalidStatement, "'%s' is a table; use DROP TABLE", name), nil
		}
		if body.GetIfExists() {
			return done("View '%s' does not exist", name), nil
		}
		return command.Refuse(fault.TableNotFound, "View '%s' not found", name), nil
	}
	if refusal, err := c.dropReaders("View", name, body.GetCascade()); refusal != nil || err != nil {
		return refusal, err
	}
	return done("View '%s' dropped successfully", name), c.removeView(view)
}

// dropReaders drops the views that read an object which is about to be dropped, or refuses that.
func (c *metaCall) dropReaders(what string, name catalog.ObjectName, cascade bool) (refusal *commandv1.Response, err error) {
	readers := c.Readers(name)
	if len(readers) > 0 && !cascade {
		return command.Refuse(fault.InvalidStatement, "%s '%s' is read by view '%s'; drop the view first, or use CASCADE to drop both",
			what, name, readers[0].Name()), nil
	}
	for _, reader := range readers {
		if err := c.removeView(reader); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// dropViewsOf drops the views of a namespace that goes, and those elsewhere that read from it; without cascade the
// latter refuse.
func (c *metaCall) dropViewsOf(namespace string, cascade bool) (refusal *commandv1.Response, err error) {
	going := c.ViewsIn(namespace)
	for _, table := range c.TablesIn(namespace) {
		going = append(going, c.Readers(catalog.ObjectName{Namespace: namespace, Name: table.Name})...)
	}
	for _, view := range c.ViewsIn(namespace) {
		going = append(going, c.Readers(view.Name())...)
	}
	for _, view := range going {
		if view.Table.Namespace != namespace && !cascade {
			return command.Refuse(fault.InvalidStatement, "view '%s' reads from namespace '%s'; drop the view first, or use CASCADE to drop both",
				view.Name(), namespace), nil
		}
	}
	for _, view := range going {
		if err := c.removeView(view); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
