package table

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// Setting is one row of system.settings.
type Setting struct {
	Name        string // dotted configuration key
	Value       string // secrets are left out by whoever makes the list
	Description string
	Category    string
}

// Stat is one row of system.stats.
type Stat struct {
	Name  string
	Value string
}

// SystemOptions say where the views get what is not in the catalog.
type SystemOptions struct {
	Cluster  ClusterView   // required
	Node     ident.NodeID  // this server's number
	Settings []Setting     // rows of system.settings, in this order
	Stats    func() []Stat // further rows of system.stats; nil for none

	Live func(context.Context) []LiveQuery // rows of system.live; nil for none
	Logs func() []LogLine                  // rows of system.server_logs; nil for none

	// AppliedIndex reads the applied index of a group from a reader, so that a digest and its index are of
	// one moment. Nil leaves the column NULL.
	AppliedIndex func(reader storage.Reader, group shard.GroupID) (uint64, error)
	// Transactions and Sessions are the rows of the views of what is open, on this node and on all of them; nil for none.
	Transactions func() []OpenTransaction
	Sessions     func(ctx context.Context) []OpenSession
}

// System computes the rows of the views of system and information_schema. It holds no state of its own.
type System struct {
	options SystemOptions
	views   map[string]*view // by namespace, a point and name
}

// view is one computed table: what it looks like and where its rows come from.
type view struct {
	table *schema.Table
	rows  func(s *System, ctx context.Context, request *ViewRequest) ([][]datum.Datum, error)
}

// ViewRequest is what the rows of a view are computed from.
type ViewRequest struct {
	Catalog *catalog.Catalog
	// Visible says which tables the caller may know of.
	Visible func(*schema.Table) bool
	// Snapshot opens a consistent view of the store; it is called by views of stored rows only, and they
	// close it.
	Snapshot func() *storage.Snapshot
}

// NewSystem makes the views.
func NewSystem(options SystemOptions) *System {
	s := &System{options: options, views: map[string]*view{}}
	for _, definition := range allViews() {
		descriptor := definition.descriptor()
		s.views[descriptor.FullName()] = &view{table: descriptor, rows: definition.rows}
	}
	return s
}

// allViews lists the definitions of all views.
func allViews() []viewDefinition {
	return slices.Concat(systemViews(), indexViews(), queryViews(), jobViews(), liveViews(), changeViews(),
		sessionViews(), storageViews(), logViews(), typeViews(), informationViews(), informationKinds(), postgresViews(), postgresKinds(), postgresKindsBehind())
}

// IsViewNamespace reports whether a namespace holds computed tables only.
func IsViewNamespace(namespace string) bool {
	return namespace == SystemNamespace || namespace == InformationNamespace || namespace == PostgresNamespace
}

// View returns the descriptor of a view, nil when there is none of that name. system.table_schemas is
// another name of system.schemas, and system.live_queries of system.live.
func (s *System) View(namespace, name string) *schema.Table {
	if !IsViewNamespace(namespace) {
		return nil
	}
	if namespace == SystemNamespace {
		switch name {
		case "table_schemas":
			name = "schemas"
		case "live_queries":
			name = "live"
		}
	}
	if found := s.views[namespace+"."+name]; found != nil {
		return found.table
	}
	return nil
}

// Views lists the descriptors of all views by namespace and name.
func (s *System) Views() []*schema.Table {
	list := make([]*schema.Table, 0, len(s.views))
	for _, name := range slices.Sorted(maps.Keys(s.views)) {
		list = append(list, s.views[name].table)
	}
	return list
}

// Rows computes the rows of a view, in a fixed order.
func (s *System) Rows(ctx context.Context, descriptor *schema.Table, request *ViewRequest) ([][]datum.Datum, error) {
	found := s.views[descriptor.FullName()]
	if found == nil {
		return nil, fmt.Errorf("view %s does not exist", descriptor.FullName())
	}
	rows, err := found.rows(s, ctx, request)
	if err != nil {
		return nil, fmt.Errorf("view %s: %w", descriptor.FullName(), err)
	}
	return rows, nil
}
