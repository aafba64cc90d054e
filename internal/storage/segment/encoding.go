package segment

import (
	"fmt"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"
)

// Whole numbers that lie near each other are stored as differences, packed to as many bits as those need: zstd finds little of
// that in numbers of eight bytes each, and needs ten times as long to give them back. Which columns have such numbers is
// seen in the first rows of a file. A page says how it is encoded, so readers need not know.

// sampleRows is how many values of a column are looked at.
const sampleRows = 1024

// encodingFor chooses the encoding of a column by its first values.
func encodingFor(node parquet.Node, values []parquet.Value) (encoding.Encoding, error) {
	var packed, whole []byte
	var err error
	switch node.Type().Kind() { //nolint:exhaustive // the others are no whole numbers
	case parquet.Int32:
		sample := make([]int32, 0, sampleRows)
		for i := 0; i < len(values) && len(sample) < sampleRows; i++ {
			if !values[i].IsNull() {
				sample = append(sample, values[i].Int32())
			}
		}
		packed, whole, err = trial(sample, parquet.DeltaBinaryPacked.EncodeInt32, parquet.Plain.EncodeInt32)
	case parquet.Int64:
		sample := make([]int64, 0, sampleRows)
		for i := 0; i < len(values) && len(sample) < sampleRows; i++ {
			if !values[i].IsNull() {
				sample = append(sample, values[i].Int64())
			}
		}
		packed, whole, err = trial(sample, parquet.DeltaBinaryPacked.EncodeInt64, parquet.Plain.EncodeInt64)
	}
	if err != nil || len(whole) == 0 || 2*len(packed) > len(whole) {
		return &parquet.Plain, err // wide differences take longer to unpack than they save
	}
	// Few different numbers far from each other are what zstd is better at.
	small, err := compression.Encode(nil, packed)
	if err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	large, err := compression.Encode(nil, whole)
	if err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	if len(small) > len(large)+len(large)/8+64 {
		return &parquet.Plain, nil
	}
	return &parquet.DeltaBinaryPacked, nil
}

// trial encodes a sample in two ways.
func trial[V any](sample []V, pack, keep func(dst []byte, src []V) ([]byte, error)) (packed, whole []byte, err error) {
	if len(sample) == 0 {
		return nil, nil, nil
	}
	if packed, err = pack(nil, sample); err == nil {
		whole, err = keep(nil, sample)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("segment: encode: %w", err)
	}
	return packed, whole, nil
}
