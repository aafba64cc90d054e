// Package segment is the file format of cold rows: Parquet, compressed with zstd, sorted by primary key.
//
// A segment holds rows of one scope, one version of each key. It is written once, as a whole, and never changed. Any reader
// of Parquet opens it: its columns are those of the table, in their order and under their names, followed by _seq and
// _deleted. A deletion is a row too, with its last live values. The types are in docs/design/formats/segment.md.
//
// What only we need is in the file's key-value metadata: under "kalamdb.segment" a description (format, table, version
// of the schema, columns with their ids and types), and under "kalamdb.blocks" the encoded primary key and the number of
// the first row of every block; and under "kalamdb.cluster" whose file it is. A block is what is read at once: one page of every column, at most BlockRows rows. So a
// key is found without decoding the primary keys, and without the ordering of Parquet, which is not ours for every type.
//
// Always true: keys ascend strictly; what Reader gives for a row is what was given to Writer, bit for bit; a byte that
// changed in a page is noticed when the page is read (CRC). Whether the file is the right one is for the owner to
// check, by the SHA-256 that Summary gives.
//
// Only packages flush and cold use this package, the one to write and the other to read.
package segment

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/parquet-go/parquet-go"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// The shape of a file. Readers take what they find; the numbers may change.
const (
	BlockRows   = 4096      // rows of a block, at most
	blockBytes  = 512 << 10 // of values, after which a block ends
	groupBlocks = 16        // blocks of a row group
	bloomBits   = 10        // of the filter, for each primary key

	// ChunkBytes is the size of the chunks of a file that have a sum of their own, so that a part of it can be checked.
	ChunkBytes = 1 << 20
)

const (
	format         = 1
	descriptionKey = "kalamdb.segment"
	blocksKey      = "kalamdb.blocks"
	ownerKey       = "kalamdb.cluster"
)

// ErrDamaged is wrapped by every error that wrong bytes cause.
var ErrDamaged = errors.New("damaged segment")

// description is what a file says about itself.
type description struct {
	Format  int      `json:"format"`
	Table   uint64   `json:"table"`
	Version uint32   `json:"version"` // of the schema
	Columns []column `json:"columns"`
}

// column is one column of the table as it was when the file was written.
type column struct {
	ID        uint32 `json:"id"`
	Kind      uint8  `json:"kind"`
	Precision uint8  `json:"precision,omitempty"`
	Scale     uint8  `json:"scale,omitempty"`
	Dims      uint16 `json:"dims,omitempty"`
	Key       bool   `json:"key,omitempty"`
}

// block is where the rows of a block begin.
type block struct {
	Key []byte `json:"key"` // encoded primary key of the first row
	Row int64  `json:"row"` // number of the first row in the file
}

func (c *column) datumType() datum.Type {
	return datum.Type{Kind: datum.Kind(c.Kind), Precision: c.Precision, Scale: c.Scale, Dims: c.Dims}
}

func describe(t *schema.Table) (*description, error) {
	d := &description{Format: format, Table: uint64(t.ID), Version: t.Version}
	for i := range t.Columns {
		c := &t.Columns[i]
		d.Columns = append(d.Columns, column{
			ID: c.ID, Kind: uint8(c.Type.Kind), Precision: c.Type.Precision, Scale: c.Type.Scale, Dims: c.Type.Dims, Key: c.PrimaryKey,
		})
	}
	if d.key() < 0 {
		return nil, fmt.Errorf("segment of %s: the table has no primary key", t.FullName())
	}
	return d, nil
}

// key is the position of the primary key.
func (d *description) key() int {
	for i := range d.Columns {
		if d.Columns[i].Key {
			return i
		}
	}
	return -1
}

// position finds a column by its id; -1 when the file is without it.
func (d *description) position(id uint32) int {
	for i := range d.Columns {
		if d.Columns[i].ID == id {
			return i
		}
	}
	return -1
}

// leaves are the nodes of all columns of a file, without their encodings: those of a table, then _seq and _deleted.
func (d *description) leaves(t *schema.Table) ([]parquet.Node, error) {
	nodes := make([]parquet.Node, 0, len(d.Columns)+2)
	for i := range d.Columns {
		node, err := leaf(d.Columns[i].datumType())
		if err != nil {
			return nil, fmt.Errorf("column '%s' of %s: %w", t.Columns[i].Name, t.FullName(), err)
		}
		nodes = append(nodes, node)
	}
	return append(nodes, parquet.Leaf(parquet.Int64Type), parquet.Leaf(parquet.BooleanType)), nil
}

// parquetSchema is the schema of a file with the columns of a table, each encoded in the best way for its first values.
func (d *description) parquetSchema(t *schema.Table, leaves []parquet.Node, first [][]parquet.Value) (*parquet.Schema, error) {
	root := &orderedGroup{}
	for i, node := range leaves {
		if node.Leaf() {
			as, err := encodingFor(node, first[i])
			if err != nil {
				return nil, err
			}
			node = encoded(node, as)
		}
		switch i {
		case len(d.Columns):
			root.add(schema.SeqColumn, node)
			continue
		case len(d.Columns) + 1:
			root.add(schema.DeletedColumn, node)
			continue
		}
		if !d.Columns[i].Key {
			node = parquet.Optional(node)
		}
		root.add(t.Columns[i].Name, parquet.FieldID(node, int(d.Columns[i].ID)))
	}
	return parquet.NewSchema(t.Name, root), nil
}

func encodeMetadata(d *description, blocks []block) (about, starts string, err error) {
	first, err := json.Marshal(d)
	if err != nil {
		return "", "", fmt.Errorf("describe segment: %w", err)
	}
	second, err := json.Marshal(blocks)
	if err != nil {
		return "", "", fmt.Errorf("describe segment: %w", err)
	}
	return string(first), string(second), nil
}
