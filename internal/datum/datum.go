// Package datum holds the values that SQL computes with: a Type, and a Datum that is one value of it.
//
// Values are small immutable structs. A Datum never shares memory that a caller may change. The package
// knows how values compare, cast, print and encode; it knows nothing of tables or statements. The zero
// Datum is NULL.
//
// The types and their JSON form are those of the external surface: 64-bit integers, decimals and UUIDs
// travel as strings, temporal values as integers (microseconds, or days for Date).
package datum

import (
	"math"
	"unsafe"

	"github.com/cockroachdb/apd/v3"
)

// Kind is the family of a type. The numbers are part of the row format.
type Kind uint8

// The kinds of values.
const (
	Null      Kind = 0 // type of a bare NULL; compatible with every type
	Boolean   Kind = 1
	SmallInt  Kind = 2  // 16 bits
	Int       Kind = 3  // 32 bits
	BigInt    Kind = 4  // 64 bits
	Float     Kind = 5  // IEEE 754 binary32
	Double    Kind = 6  // IEEE 754 binary64
	Decimal   Kind = 7  // exact, precision up to 38
	Text      Kind = 8  // UTF-8
	JSON      Kind = 9  // text that holds valid JSON
	File      Kind = 10 // text that holds a file reference
	Bytes     Kind = 11
	UUID      Kind = 12 // 16 bytes
	Timestamp Kind = 13 // microseconds since 1970-01-01, no zone
	DateTime  Kind = 14 // microseconds since 1970-01-01 UTC
	Date      Kind = 15 // days since 1970-01-01
	Time      Kind = 16 // microseconds since midnight
	Embedding Kind = 17 // fixed number of binary32
	Array     Kind = 18 // one-dimensional array; only inside expressions, never stored
	Interval  Kind = 19 // months, days, microseconds; only inside expressions, never stored
)

// Type is the type of a column or expression. Types compare with ==.
type Type struct {
	Kind      Kind
	Elem      Kind   // element kind of an Array, else zero
	Precision uint8  // Decimal: 1 to 38; zero means unconstrained
	Scale     uint8  // Decimal: 0 to Precision
	Dims      uint16 // Embedding: 1 to 8192
}

// Span is the value of an Interval.
type Span struct {
	Months, Days int32
	Micros       int64
}

// Datum is one value. It is kept to three words, because a query moves millions of them. The representation by
// kind: num holds Boolean (0, 1), integers, Timestamp, DateTime, Date, Time and the bits of Float and Double (both
// as binary64); Text, JSON, File, Bytes, the 16 bytes of UUID, Embedding and Array have their length in num and
// their first element at ref; Decimal and Interval are at ref. What is at ref never changes.
//
// Only this file reads or writes ref. A Datum cannot be compared with ==, which would compare addresses.
type Datum struct {
	_    [0]func()
	kind Kind
	num  int64
	ref  unsafe.Pointer
}

// Size is the memory of a Datum in bytes, without what it points to.
const Size = 24

// NewBool makes a Boolean.
func NewBool(v bool) Datum {
	if v {
		return Datum{kind: Boolean, num: 1}
	}
	return Datum{kind: Boolean}
}

// NewInt makes a value of one of the kinds stored as an integer: SmallInt, Int, BigInt, Timestamp,
// DateTime, Date, Time. The caller has checked the range.
func NewInt(kind Kind, v int64) Datum { return Datum{kind: kind, num: v} }

// NewBigInt makes a BigInt.
func NewBigInt(v int64) Datum { return Datum{kind: BigInt, num: v} }

// NewFloat makes a Float; the value is rounded to binary32.
func NewFloat(v float64) Datum {
	return Datum{kind: Float, num: int64(math.Float64bits(float64(float32(v))))} //nolint:gosec // the bits are kept, whatever they mean
}

// NewDouble makes a Double.
func NewDouble(v float64) Datum { return Datum{kind: Double, num: int64(math.Float64bits(v))} } //nolint:gosec // the bits are kept, whatever they mean

// NewDecimal makes a Decimal. The caller gives up d.
func NewDecimal(d *apd.Decimal) Datum { return Datum{kind: Decimal, ref: unsafe.Pointer(d)} } //nolint:gosec // see Datum

// NewText makes a Text.
func NewText(v string) Datum { return NewString(Text, v) }

// NewString makes a value of one of the kinds stored as a string: Text, JSON, File, Bytes, UUID (16
// bytes). The caller has checked the content.
func NewString(kind Kind, v string) Datum {
	return Datum{kind: kind, num: int64(len(v)), ref: unsafe.Pointer(unsafe.StringData(v))} //nolint:gosec // see Datum
}

// NewEmbedding makes an Embedding. The caller gives up v.
func NewEmbedding(v []float32) Datum {
	return Datum{kind: Embedding, num: int64(len(v)), ref: unsafe.Pointer(unsafe.SliceData(v))} //nolint:gosec // see Datum
}

// NewArray makes an Array. The caller gives up v.
func NewArray(v []Datum) Datum {
	return Datum{kind: Array, num: int64(len(v)), ref: unsafe.Pointer(unsafe.SliceData(v))} //nolint:gosec // see Datum
}

// NewInterval makes an Interval.
func NewInterval(v Span) Datum { return Datum{kind: Interval, ref: unsafe.Pointer(&v)} } //nolint:gosec // see Datum

// Kind returns the kind of the value; Null for NULL, whatever the column's type.
func (d Datum) Kind() Kind { return d.kind }

// IsNull reports whether the value is NULL.
func (d Datum) IsNull() bool { return d.kind == Null }

// Bool returns a Boolean's value.
func (d Datum) Bool() bool { return d.num != 0 }

// Int returns the value of a kind stored as an integer.
func (d Datum) Int() int64 { return d.num }

// Float returns the value of a Float or Double.
func (d Datum) Float() float64 { return math.Float64frombits(uint64(d.num)) } //nolint:gosec // the bits are kept, whatever they mean

// Str returns the value of a kind stored as a string; it is empty for the others.
func (d Datum) Str() string {
	if d.kind < Text || d.kind > UUID || d.ref == nil {
		return ""
	}
	return unsafe.String((*byte)(d.ref), d.num) //nolint:gosec // NewString made it
}

// Decimal returns a Decimal's value, which must not be changed; nil for other kinds.
func (d Datum) Decimal() *apd.Decimal {
	if d.kind != Decimal {
		return nil
	}
	return (*apd.Decimal)(d.ref)
}

// Embedding returns an Embedding's value, which must not be changed; nil for other kinds.
func (d Datum) Embedding() []float32 {
	if d.kind != Embedding || d.ref == nil {
		return nil
	}
	return unsafe.Slice((*float32)(d.ref), d.num) //nolint:gosec // NewEmbedding made it
}

// Array returns an Array's elements, which must not be changed; nil for other kinds.
func (d Datum) Array() []Datum {
	if d.kind != Array || d.ref == nil {
		return nil
	}
	return unsafe.Slice((*Datum)(d.ref), d.num) //nolint:gosec // NewArray made it
}

// Interval returns an Interval's value; the zero Span for other kinds.
func (d Datum) Interval() Span {
	if d.kind != Interval || d.ref == nil {
		return Span{}
	}
	return *(*Span)(d.ref)
}
