package datum

// Column holds values of one column, side by side. They are of one kind or NULL, and nobody changes them. Numbers,
// booleans and times take eight bytes each, and the garbage collector has nothing to look for in them. The zero Column is
// empty.
type Column struct {
	kind   Kind    // of numbers
	nums   []int64 // as a Datum has them; zero for NULL
	nulls  []bool  // nil when no number is NULL
	values []Datum // of the other kinds; nums is nil then
}

// IsNumeric reports whether a Column keeps values of a kind as numbers.
func IsNumeric(kind Kind) bool {
	switch kind { //nolint:exhaustive // the others lie elsewhere
	case Boolean, SmallInt, Int, BigInt, Float, Double, Timestamp, DateTime, Date, Time:
		return true
	}
	return false
}

// NewNumbers makes a Column of values that IsNumeric is true for: integers, 0 and 1, or the bits of binary64. Where nulls has
// true the value is NULL and its number zero; nil has none. The caller gives both up.
func NewNumbers(kind Kind, nums []int64, nulls []bool) Column {
	return Column{kind: kind, nums: nums, nulls: nulls}
}

// NewColumn makes a Column of values of any one kind. The caller gives them up.
func NewColumn(values []Datum) Column { return Column{values: values} }

// Repeat makes a Column of one value, n times.
func Repeat(value Datum, n int) Column {
	if IsNumeric(value.kind) {
		nums := make([]int64, n)
		for i := range nums {
			nums[i] = value.num
		}
		return Column{kind: value.kind, nums: nums}
	}
	values := make([]Datum, n)
	for i := range values {
		values[i] = value
	}
	return Column{values: values}
}

// Len is how many values there are.
func (c *Column) Len() int { return max(len(c.nums), len(c.values)) }

// IsEmpty reports whether there are none.
func (c *Column) IsEmpty() bool { return len(c.nums) == 0 && len(c.values) == 0 }

// At is one value.
func (c *Column) At(i int) Datum {
	if c.nums == nil {
		return c.values[i]
	}
	if c.nulls != nil && c.nulls[i] {
		return Datum{}
	}
	return Datum{kind: c.kind, num: c.nums[i]}
}

// Slice is the part from one value up to another.
func (c *Column) Slice(from, to int) Column {
	if c.nums == nil {
		return Column{values: c.values[from:to]}
	}
	part := Column{kind: c.kind, nums: c.nums[from:to]}
	if c.nulls != nil {
		part.nulls = c.nulls[from:to]
	}
	return part
}

// Pick is a new Column of the values at some places.
func (c *Column) Pick(places []int) Column {
	if c.nums == nil {
		values := make([]Datum, len(places))
		for to, from := range places {
			values[to] = c.values[from]
		}
		return Column{values: values}
	}
	picked := Column{kind: c.kind, nums: make([]int64, len(places))}
	for to, from := range places {
		picked.nums[to] = c.nums[from]
	}
	if c.nulls != nil {
		picked.nulls = make([]bool, len(places))
		for to, from := range places {
			picked.nulls[to] = c.nulls[from]
		}
	}
	return picked
}

// Numbers are the values as numbers, which must not be changed, and where they are NULL, nil for nowhere; ok is false when
// they are kept in another way.
func (c *Column) Numbers() (kind Kind, nums []int64, nulls []bool, ok bool) {
	return c.kind, c.nums, c.nulls, c.nums != nil
}

// Values are the values when they are not kept as numbers; else nil. They must not be changed.
func (c *Column) Values() []Datum { return c.values }

// decimalSize is about what a decimal takes beside its Datum.
const decimalSize = 48

// SizeBytes is about what the values take.
func (c *Column) SizeBytes() int64 {
	size := 8*int64(len(c.nums)) + int64(len(c.nulls)) + Size*int64(len(c.values))
	for i := range c.values {
		switch value := &c.values[i]; value.kind { //nolint:exhaustive // the others take nothing more
		case Text, JSON, File, Bytes, UUID:
			size += value.num
		case Decimal:
			size += decimalSize
		case Embedding:
			size += 4 * value.num
		}
	}
	return size
}
