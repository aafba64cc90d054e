package expr

import (
	cryptorand "crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// wholeFunction holds functions on whole numbers and on the digits of decimals, and random().
func wholeFunction(name string) (definition, bool) {
	two := []operandClass{integerOperand, integerOperand}
	bigInt := datum.Of(datum.BigInt)
	switch name {
	case "random":
		return definition{result: datum.Of(datum.Double), when: volatile, apply: func(*EvalContext, arguments) (datum.Datum, error) {
			return datum.NewDouble(rand.Float64()), nil //nolint:gosec // it is no secret
		}}, true
	case "gen_random_uuid", "uuid_generate_v4":
		return definition{result: datum.Of(datum.UUID), when: volatile, apply: randomUUID}, true
	case "div":
		return definition{operands: []operandClass{numberOperand, numberOperand}, result: datum.Of(datum.Decimal), apply: wholeQuotient}, true
	case "gcd", "lcm":
		return definition{operands: two, result: bigInt, apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return commonOf(name, a[0].Int(), a[1].Int())
		}}, true
	case "factorial":
		return definition{operands: []operandClass{integerOperand}, result: datum.Of(datum.Decimal), apply: factorial}, true
	case "width_bucket":
		return definition{
			operands: []operandClass{doubleOperand, doubleOperand, doubleOperand, integerOperand}, result: datum.Of(datum.Int), apply: widthBucket,
		}, true
	case "scale", "min_scale", "trim_scale":
		result := datum.Of(datum.Int)
		if name == "trim_scale" {
			result = datum.Of(datum.Decimal)
		}
		return definition{operands: []operandClass{numberOperand}, result: result, apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return scaleOf(name, a[0])
		}}, true
	case "num_nulls", "num_nonnulls":
		return definition{
			operands: []operandClass{anyOperand}, variadic: true, takesNull: true, result: datum.Of(datum.Int),
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
				count := int64(0)
				for _, value := range a {
					if value.IsNull() == (name == "num_nulls") {
						count++
					}
				}
				return datum.NewInt(datum.Int, count), nil
			},
		}, true
	}
	return definition{}, false
}

// randomUUID draws a UUID of version 4.
func randomUUID(*EvalContext, arguments) (datum.Datum, error) {
	var id [16]byte
	if _, err := cryptorand.Read(id[:]); err != nil {
		return datum.Datum{}, fmt.Errorf("draw a UUID: %w", err)
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return datum.NewString(datum.UUID, string(id[:])), nil
}

func wholeQuotient(_ *EvalContext, a arguments) (datum.Datum, error) {
	left, err := datum.Cast(a[0], datum.Of(datum.Decimal))
	if err != nil {
		return datum.Datum{}, err
	}
	right, err := datum.Cast(a[1], datum.Of(datum.Decimal))
	if err != nil {
		return datum.Datum{}, err
	}
	if right.Decimal().IsZero() {
		return datum.Datum{}, divisionByZero()
	}
	context := datum.ExactContext()
	quotient := new(apd.Decimal)
	if _, err := context.QuoInteger(quotient, left.Decimal(), right.Decimal()); err != nil {
		return datum.Datum{}, numberFault(datum.Decimal)
	}
	return decimalResult(quotient)
}

// commonOf is the greatest common divisor, or the least common multiple.
func commonOf(name string, x, y int64) (datum.Datum, error) {
	if x == math.MinInt64 || y == math.MinInt64 {
		return datum.Datum{}, numberFault(datum.BigInt)
	}
	a, b := max(x, -x), max(y, -y)
	for rest := b; rest != 0; {
		a, rest = rest, a%rest
	}
	switch {
	case name == "gcd":
		return datum.NewBigInt(a), nil
	case x == 0 || y == 0:
		return datum.NewBigInt(0), nil
	}
	product, err := integerOperation("*", max(x, -x)/a, b, datum.BigInt)
	if err != nil {
		return datum.Datum{}, err
	}
	return datum.NewBigInt(product), nil
}

// maxFactorial is the largest number whose factorial a decimal holds for sure.
const maxFactorial = 400

func factorial(_ *EvalContext, a arguments) (datum.Datum, error) {
	n := a[0].Int()
	switch {
	case n < 0:
		return datum.Datum{}, fault.New(fault.OutOfRange, "factorial of a negative number is undefined")
	case n > maxFactorial:
		return datum.Datum{}, numberFault(datum.Decimal)
	}
	context, product := datum.ExactContext(), apd.New(1, 0)
	for i := int64(2); i <= n; i++ {
		if _, err := context.Mul(product, product, apd.New(i, 0)); err != nil {
			return datum.Datum{}, numberFault(datum.Decimal)
		}
	}
	return decimalResult(product)
}

// widthBucket says in which of equal parts of a range a number lies.
func widthBucket(_ *EvalContext, a arguments) (datum.Datum, error) {
	x, low, high, count := a[0].Float(), a[1].Float(), a[2].Float(), a[3].Int()
	switch {
	case count <= 0 || count >= math.MaxInt32:
		return datum.Datum{}, fault.New(fault.OutOfRange, "the count of width_bucket must be greater than zero")
	case math.IsNaN(x) || math.IsNaN(low) || math.IsNaN(high) || math.IsInf(low, 0) || math.IsInf(high, 0):
		return datum.Datum{}, fault.New(fault.OutOfRange, "the operand and the bounds of width_bucket must be numbers")
	case low == high:
		return datum.Datum{}, fault.New(fault.OutOfRange, "the lower bound of width_bucket must not be the upper one")
	}
	if low > high {
		x, low, high = -x, -low, -high
	}
	bucket := int64(0)
	switch {
	case x < low:
	case x >= high:
		bucket = count + 1
	default:
		bucket = min(int64(float64(count)*((x-low)/(high-low)))+1, count)
	}
	return datum.NewInt(datum.Int, bucket), nil
}

// scaleOf counts digits behind the point: all, or those before the zeros at the end, which trim_scale takes away.
func scaleOf(name string, d datum.Datum) (datum.Datum, error) {
	exact, err := datum.Cast(d, datum.Of(datum.Decimal))
	if err != nil {
		return datum.Datum{}, err
	}
	value := exact.Decimal()
	if name == "scale" {
		return datum.NewInt(datum.Int, int64(max(0, -value.Exponent))), nil
	}
	trimmed := new(apd.Decimal)
	trimmed.Reduce(value)
	if trimmed.Exponent > 0 {
		datum.Rescale(trimmed, trimmed, 0)
	}
	if name == "min_scale" {
		return datum.NewInt(datum.Int, int64(-trimmed.Exponent)), nil
	}
	return decimalResult(trimmed)
}

// quotingFunction holds the functions that write SQL, digests, and texts as bytes.
func quotingFunction(name string) (definition, bool) {
	text := datum.Of(datum.Text)
	switch name {
	case "quote_literal", "quote_nullable":
		return definition{operands: []operandClass{textOperand}, takesNull: name == "quote_nullable", result: text, apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return datum.NewText(quotedValue(a[0])), limitBytes(2 * len(a[0].Str()))
		}}, true
	case "format":
		return definition{operands: []operandClass{textOperand, anyOperand}, optional: 1, variadic: true, takesNull: true, result: text, apply: formatted}, true
	case "sha224", "sha256", "sha384", "sha512":
		return definition{operands: []operandClass{anyOperand}, result: datum.Of(datum.Bytes), apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return datum.NewString(datum.Bytes, digest(name, a[0].Str())), nil
		}}, true
	case "convert_from":
		return definition{operands: []operandClass{anyOperand, textOperand}, result: text, apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			if !isUTF8(a[1].Str()) || !utf8.ValidString(a[0].Str()) || strings.ContainsRune(a[0].Str(), 0) {
				return datum.Datum{}, fault.New(fault.InvalidStatement, "convert_from reads valid UTF8 only")
			}
			return datum.NewText(a[0].Str()), nil
		}}, true
	case "convert_to":
		return definition{operands: []operandClass{textOperand, textOperand}, result: datum.Of(datum.Bytes), apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			if !isUTF8(a[1].Str()) {
				return datum.Datum{}, fault.New(fault.Unsupported, "convert_to writes UTF8 only, not %s", a[1].Str())
			}
			return datum.NewString(datum.Bytes, a[0].Str()), nil
		}}, true
	}
	return definition{}, false
}

func isUTF8(name string) bool {
	return strings.EqualFold(name, "utf8") || strings.EqualFold(name, "utf-8") || strings.EqualFold(name, "unicode")
}

func digest(name, text string) string {
	switch name {
	case "sha224":
		sum := sha256.Sum224([]byte(text))
		return string(sum[:])
	case "sha384":
		sum := sha512.Sum384([]byte(text))
		return string(sum[:])
	case "sha512":
		sum := sha512.Sum512([]byte(text))
		return string(sum[:])
	}
	sum := sha256.Sum256([]byte(text))
	return string(sum[:])
}

// quotedValue writes a value as a literal.
func quotedValue(d datum.Datum) string {
	if d.IsNull() {
		return "NULL"
	}
	text := string(datum.AppendText(nil, d))
	if strings.Contains(text, `\`) {
		return "E" + quoteLiteral(strings.ReplaceAll(text, `\`, `\\`))
	}
	return quoteLiteral(text)
}

// formatted is format(): %s a text, %I a name, %L a literal, with a position and a width where they are given.
func formatted(_ *EvalContext, a arguments) (datum.Datum, error) {
	if a[0].IsNull() {
		return datum.Datum{}, nil
	}
	var out strings.Builder
	rest, next := a[0].Str(), 1
	for {
		plain, behind, found := strings.Cut(rest, "%")
		out.WriteString(plain)
		if err := limitBytes(out.Len()); err != nil || !found {
			return datum.NewText(out.String()), err
		}
		if strings.HasPrefix(behind, "%") {
			out.WriteByte('%')
			rest = behind[1:]
			continue
		}
		spec, after, err := readFormat(behind)
		if err != nil {
			return datum.Datum{}, err
		}
		if spec.widthFrom {
			if spec.width, err = formatWidth(a, &next, spec.widthAt); err != nil {
				return datum.Datum{}, err
			}
		}
		value, err := formatArgument(a, &next, spec.place)
		if err != nil {
			return datum.Datum{}, err
		}
		text, err := spec.write(value)
		if err != nil {
			return datum.Datum{}, err
		}
		out.WriteString(text)
		rest = after
	}
}

// formatWidth is a width that is an argument; NULL is none.
func formatWidth(a arguments, next *int, place int) (int, error) {
	value, err := formatArgument(a, next, place)
	if err != nil || value.IsNull() {
		return 0, err
	}
	width, err := datum.Cast(value, datum.Of(datum.Int))
	return int(width.Int()), err
}

// formatArgument is the one at a place, or the next one.
func formatArgument(a arguments, next *int, place int) (datum.Datum, error) {
	at := *next
	if place > 0 {
		at = place
	}
	if *next = at + 1; at >= len(a) {
		return datum.Datum{}, fault.New(fault.InvalidStatement, "format has too few arguments")
	}
	return a[at], nil
}

// formatSpec is what stands behind a % of format().
type formatSpec struct {
	place     int // of the argument; zero is the next one
	left      bool
	width     int
	widthFrom bool // the width is an argument, at widthAt
	widthAt   int
	kind      byte
}

func readFormat(text string) (spec formatSpec, rest string, err error) {
	number := func() (n int, ok bool) {
		for len(text) > 0 && text[0] >= '0' && text[0] <= '9' && n < 1<<24 {
			n, ok, text = n*10+int(text[0]-'0'), true, text[1:]
		}
		return n, ok
	}
	n, given := number()
	if given && strings.HasPrefix(text, "$") {
		if text = text[1:]; n == 0 {
			return spec, "", fault.New(fault.InvalidStatement, "format specifies argument 0, but arguments are numbered from 1")
		}
		spec.place = n
		n, given = 0, false
	}
	if !given {
		for strings.HasPrefix(text, "-") {
			spec.left, text = true, text[1:]
		}
		if strings.HasPrefix(text, "*") {
			text = text[1:]
			spec.widthFrom = true
			if at, ok := number(); ok {
				if !strings.HasPrefix(text, "$") || at == 0 {
					return spec, "", fault.New(fault.InvalidStatement, "the width of a format must end with \"$\"")
				}
				spec.widthAt, text = at, text[1:]
			}
		} else {
			n, _ = number()
		}
	}
	spec.width = n
	if text == "" {
		return spec, "", fault.New(fault.InvalidStatement, "unterminated format() type specifier")
	}
	spec.kind = text[0]
	return spec, text[1:], nil
}

func (s *formatSpec) write(value datum.Datum) (string, error) {
	text := ""
	switch s.kind {
	case 's':
		if !value.IsNull() {
			text = string(datum.AppendText(nil, value))
		}
	case 'I':
		if value.IsNull() {
			return "", fault.New(fault.InvalidStatement, "null values cannot be formatted as an SQL identifier")
		}
		text = parse.QuoteName(string(datum.AppendText(nil, value)))
	case 'L':
		text = quotedValue(value)
	default:
		return "", fault.New(fault.InvalidStatement, "unrecognized format() type specifier %q", s.kind)
	}
	width := s.width
	if width < 0 {
		s.left, width = true, -width
	}
	if err := limitBytes(width); err != nil {
		return "", err
	}
	missing := max(0, width-utf8.RuneCountInString(text))
	if s.left {
		return text + strings.Repeat(" ", missing), nil
	}
	return strings.Repeat(" ", missing) + text, nil
}
