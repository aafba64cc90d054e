package table

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
)

// Bounds narrow a scan by the encoded primary key. The zero value is every row. Bounds only ever leave
// out rows that cannot match; whoever sets them still tests the rows.
type Bounds struct {
	// Points are the only keys that are read, ascending and distinct; nil means the range below.
	Points [][]byte
	// Index names the index in which Points were found, in the same picture of the store: each of them has a row.
	Index string
	// Low <= key < High; nil is open.
	Low, High []byte
}

// IsPoint reports whether at most one row lies within the bounds.
func (b *Bounds) IsPoint() bool { return b.Points != nil && len(b.Points) <= 1 }

// BoundsOf encodes what a condition says about the primary key.
func BoundsOf(keyRange expr.KeyRange) Bounds {
	if keyRange.IsPoints {
		points := make([][]byte, len(keyRange.Points))
		for i, point := range keyRange.Points {
			points[i] = datum.AppendKey(nil, point)
		}
		return Bounds{Points: points}
	}
	var bounds Bounds
	if !keyRange.Low.IsNull() {
		bounds.Low = datum.AppendKey(nil, keyRange.Low)
		if !keyRange.LowInclusive {
			bounds.Low = following(bounds.Low)
		}
	}
	if !keyRange.High.IsNull() {
		bounds.High = datum.AppendKey(nil, keyRange.High)
		if keyRange.HighInclusive {
			bounds.High = following(bounds.High)
		}
	}
	return bounds
}

// following returns the smallest key greater than every key that starts with a whole encoded value.
// Encodings delimit themselves, so no other value's encoding lies between.
func following(encoded []byte) []byte {
	return append(slices.Clip(encoded), 0)
}
