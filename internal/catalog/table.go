package catalog

import (
	"fmt"
	"math"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TableToProto converts a descriptor to the form in commands and keys. The options map is shared with it.
func TableToProto(t *schema.Table) *commandv1.Table {
	p := &commandv1.Table{
		Id:            uint64(t.ID),
		Namespace:     t.Namespace,
		Name:          t.Name,
		Kind:          uint32(t.Kind),
		Access:        uint32(t.Access),
		Columns:       make([]*commandv1.Column, len(t.Columns)),
		Version:       t.Version,
		Group:         uint64(t.Group),
		NextColumnId:  t.NextColumnID,
		Options:       t.Options,
		CreatedMicros: t.CreatedMicros,
		UpdatedMicros: t.UpdatedMicros,
		NextIndexId:   t.NextIndexID,
		Revision:      t.Revision,
	}
	for i := range t.Columns {
		p.Columns[i] = columnToProto(&t.Columns[i])
	}
	for i := range t.Indexes {
		x := &t.Indexes[i]
		p.Indexes = append(p.Indexes, &commandv1.Index{
			Id: x.ID, Name: x.Name, ColumnIds: x.Columns, Unique: x.Unique, State: uint32(x.State),
		})
	}
	return p
}

func columnToProto(c *schema.Column) *commandv1.Column {
	p := &commandv1.Column{
		Id:          c.ID,
		Name:        c.Name,
		Type:        typeToProto(c.Type),
		Nullable:    c.Nullable,
		PrimaryKey:  c.PrimaryKey,
		Unique:      c.Unique,
		DefaultKind: uint32(c.Default.Kind),
		AddedIn:     c.AddedIn,
		Proof:       uint32(c.Proof),
	}
	if !c.Initial.IsNull() {
		p.Initial = datum.AppendValue(nil, c.Initial)
	}
	for _, former := range c.Formerly {
		p.Formerly = append(p.Formerly, typeToProto(former))
	}
	if c.Default.Kind == schema.DefaultLiteral {
		p.DefaultLiteral = datum.AppendValue(nil, c.Default.Literal)
	}
	return p
}

func typeToProto(t datum.Type) *commandv1.Type {
	return &commandv1.Type{
		Kind:      uint32(t.Kind),
		Precision: uint32(t.Precision),
		Scale:     uint32(t.Scale),
		Dims:      uint32(t.Dims),
	}
}

// UnmarshalTable decodes a table as it is stored, in a cluster or in a backup of one.
func UnmarshalTable(data []byte) (*schema.Table, error) {
	stored := &commandv1.Table{}
	if err := unmarshal(data, stored); err != nil {
		return nil, err
	}
	return TableFromProto(stored)
}

// TableFromProto converts a descriptor from the form in commands and keys and refuses what no descriptor
// can hold: unknown kinds, a shared table without a column, two columns of one id or name.
func TableFromProto(p *commandv1.Table) (*schema.Table, error) {
	t := &schema.Table{
		ID:            ident.TableID(p.GetId()),
		Namespace:     p.GetNamespace(),
		Name:          p.GetName(),
		Kind:          schema.TableKind(p.GetKind()),     //nolint:gosec // the range is checked below
		Access:        schema.AccessLevel(p.GetAccess()), //nolint:gosec // the range is checked below
		Columns:       make([]schema.Column, len(p.GetColumns())),
		Version:       p.GetVersion(),
		Group:         shard.GroupID(p.GetGroup()),
		NextColumnID:  p.GetNextColumnId(),
		Options:       p.GetOptions(),
		CreatedMicros: p.GetCreatedMicros(),
		UpdatedMicros: p.GetUpdatedMicros(),
		NextIndexID:   p.GetNextIndexId(),
		Revision:      p.GetRevision(),
	}
	switch {
	case t.Namespace == "" || t.Name == "":
		return nil, fmt.Errorf("%w: table without a name", errMalformed)
	case p.GetKind() < uint32(schema.KindUser) || p.GetKind() > uint32(schema.KindSystem):
		return nil, fmt.Errorf("%w: table %s has kind %d", errMalformed, t.FullName(), p.GetKind())
	case p.GetAccess() > uint32(schema.AccessDBA):
		return nil, fmt.Errorf("%w: table %s has access level %d", errMalformed, t.FullName(), p.GetAccess())
	case len(t.Columns) == 0:
		return nil, fmt.Errorf("%w: table %s has no columns", errMalformed, t.FullName())
	}
	ids := make(map[uint32]bool, len(t.Columns))
	names := make(map[string]bool, len(t.Columns))
	for i, column := range p.GetColumns() {
		c, err := columnFromProto(column)
		if err != nil {
			return nil, fmt.Errorf("table %s, column %q: %w", t.FullName(), column.GetName(), err)
		}
		if ids[c.ID] || names[c.Name] {
			return nil, fmt.Errorf("%w: table %s has column %q or its id %d twice", errMalformed, t.FullName(), c.Name, c.ID)
		}
		ids[c.ID], names[c.Name] = true, true
		t.Columns[i] = c
	}
	if err := indexesFromProto(t, p.GetIndexes()); err != nil {
		return nil, err
	}
	return t, nil
}

// indexesFromProto adds the indexes and refuses those of columns that the table has not.
func indexesFromProto(t *schema.Table, list []*commandv1.Index) error {
	if len(list) > schema.MaxIndexes {
		return fmt.Errorf("%w: table %s has %d indexes", errMalformed, t.FullName(), len(list))
	}
	for _, index := range list {
		if index.GetState() < uint32(schema.IndexBuilding) || index.GetState() > uint32(schema.IndexRetiring) {
			return fmt.Errorf("%w: index %s of table %s has state %d", errMalformed, index.GetName(), t.FullName(), index.GetState())
		}
		x := schema.Index{
			ID: index.GetId(), Name: index.GetName(), Columns: index.GetColumnIds(), Unique: index.GetUnique(),
			State: schema.IndexState(index.GetState()), //nolint:gosec // checked above
		}
		if _, ok := t.Positions(&x); x.Maintained() && (!ok || len(x.Columns) == 0 || len(x.Columns) > schema.MaxIndexColumns) {
			return fmt.Errorf("%w: index %s of table %s has wrong columns", errMalformed, x.Name, t.FullName())
		}
		t.Indexes = append(t.Indexes, x)
	}
	return nil
}

func columnFromProto(p *commandv1.Column) (schema.Column, error) {
	columnType, err := typeFromProto(p.GetType())
	if err != nil {
		return schema.Column{}, err
	}
	c := schema.Column{
		ID:         p.GetId(),
		Name:       p.GetName(),
		Type:       columnType,
		Nullable:   p.GetNullable(),
		PrimaryKey: p.GetPrimaryKey(),
		Unique:     p.GetUnique(),
		AddedIn:    p.GetAddedIn(),
	}
	if c.Name == "" {
		return schema.Column{}, fmt.Errorf("%w: column without a name", errMalformed)
	}
	if p.GetDefaultKind() > uint32(schema.DefaultCurrentUser) {
		return schema.Column{}, fmt.Errorf("%w: default of kind %d", errMalformed, p.GetDefaultKind())
	}
	for _, former := range p.GetFormerly() {
		t, failure := typeFromProto(former)
		if failure != nil {
			return schema.Column{}, failure
		}
		c.Formerly = append(c.Formerly, t)
	}
	if len(p.GetInitial()) > 0 {
		if c.Initial, err = valueFromProto("initial value", p.GetInitial()); err != nil {
			return schema.Column{}, err
		}
	}
	if p.GetProof() > uint32(schema.ProofOfAdded) {
		return schema.Column{}, fmt.Errorf("%w: proof %d", errMalformed, p.GetProof())
	}
	c.Proof = schema.Proof(p.GetProof())                    //nolint:gosec // checked above
	c.Default.Kind = schema.DefaultKind(p.GetDefaultKind()) //nolint:gosec // checked above
	if c.Default.Kind == schema.DefaultLiteral {
		c.Default.Literal, err = valueFromProto("default", p.GetDefaultLiteral())
	}
	return c, err
}

func valueFromProto(what string, encoded []byte) (datum.Datum, error) {
	value, rest, err := datum.DecodeValue(encoded)
	if err != nil {
		return datum.Datum{}, fmt.Errorf("%w: %s: %w", errMalformed, what, err)
	}
	if len(rest) > 0 {
		return datum.Datum{}, fmt.Errorf("%w: %s is followed by %d bytes", errMalformed, what, len(rest))
	}
	return value, nil
}

func typeFromProto(p *commandv1.Type) (datum.Type, error) {
	if p.GetKind() < uint32(datum.Boolean) || p.GetKind() > uint32(datum.Embedding) {
		return datum.Type{}, fmt.Errorf("%w: no column can have type %d", errMalformed, p.GetKind())
	}
	if p.GetPrecision() > math.MaxUint8 || p.GetScale() > math.MaxUint8 || p.GetDims() > math.MaxUint16 {
		return datum.Type{}, fmt.Errorf("%w: type parameter out of range", errMalformed)
	}
	return datum.Type{
		Kind:      datum.Kind(p.GetKind()), //nolint:gosec // checked above
		Precision: uint8(p.GetPrecision()), //nolint:gosec // checked above
		Scale:     uint8(p.GetScale()),     //nolint:gosec // checked above
		Dims:      uint16(p.GetDims()),     //nolint:gosec // checked above
	}, nil
}
