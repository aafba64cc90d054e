package datum

import (
	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// ExactContext computes decimals without rounding: its precision exceeds what any operation on bounded
// operands can need.
func ExactContext() *apd.Context {
	return &apd.Context{
		Precision: 4*MaxDecimalDigits + 10, MaxExponent: apd.MaxExponent, MinExponent: apd.MinExponent,
		Rounding: apd.RoundHalfUp, Traps: apd.DefaultTraps,
	}
}

// ComputeDecimal is a + - * / or % b. The quotient is rounded as in DivideDecimals.
func ComputeDecimal(op string, a, b *apd.Decimal) (*apd.Decimal, error) {
	context := ExactContext()
	v := new(apd.Decimal)
	var err error
	switch op {
	case "+":
		_, err = context.Add(v, a, b)
	case "-":
		_, err = context.Sub(v, a, b)
	case "*":
		_, err = context.Mul(v, a, b)
	case "/":
		return DivideDecimals(a, b)
	case "%":
		if b.IsZero() {
			return nil, decimalDivisionByZero()
		}
		_, err = context.Rem(v, a, b)
	}
	if err != nil || !BoundDecimal(v) {
		return nil, decimalRangeFault()
	}
	return v, nil
}

func decimalRangeFault() error { return fault.New(fault.OutOfRange, "%s out of range", Decimal) }

func decimalDivisionByZero() error { return fault.New(fault.OutOfRange, "division by zero") }

// DivideDecimals rounds the quotient to the scale that PostgreSQL chooses: at least 16 significant
// digits, and no fewer places than either operand.
func DivideDecimals(a, b *apd.Decimal) (*apd.Decimal, error) {
	if b.IsZero() {
		return nil, decimalDivisionByZero()
	}
	scale := quotientScale(a, b)
	// Enough digits for an exact integer quotient of a*10^(scale+1) by b.
	context := ExactContext()
	quotient := new(apd.Decimal)
	context.Precision = uint32(max(a.NumDigits()-b.NumDigits()+int64(a.Exponent)-int64(b.Exponent), 0)) + uint32(scale) + 20 //nolint:gosec // bounded where it was made
	context.Rounding = apd.RoundDown                                                                                         // rounding once, below; the extra digits decide it
	if _, err := context.Quo(quotient, a, b); err != nil {
		return nil, decimalRangeFault()
	}
	rounded := new(apd.Decimal)
	if !Rescale(rounded, quotient, scale) {
		return nil, decimalRangeFault()
	}
	if !BoundDecimal(rounded) {
		return nil, decimalRangeFault()
	}
	return rounded, nil
}

func quotientScale(a, b *apd.Decimal) int32 {
	const minSignificantDigits, digitsPerGroup = 16, 4
	weightA, firstA := leadingGroup(a)
	weightB, firstB := leadingGroup(b)
	weight := weightA - weightB
	if firstA <= firstB {
		weight--
	}
	scale := int32(minSignificantDigits) - weight*digitsPerGroup
	return min(max(scale, -a.Exponent, -b.Exponent, 0), MaxDecimalDigits)
}

// leadingGroup returns the weight and value of the first base 10,000 digit, by which PostgreSQL counts.
func leadingGroup(d *apd.Decimal) (weight int32, first int64) {
	if d.IsZero() {
		return 0, 0
	}
	leading := int32(d.NumDigits()) + d.Exponent - 1 //nolint:gosec // exponent of the first digit
	weight = leading >> 2
	wanted := int(leading-4*weight) + 1 // digits of the first group
	digits := d.Coeff.String()
	for i := range wanted {
		first *= 10
		if i < len(digits) {
			first += int64(digits[i] - '0')
		}
	}
	return weight, first
}
