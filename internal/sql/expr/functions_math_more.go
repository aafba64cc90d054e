package expr

import (
	"math"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// angleFunction holds hyperbolic functions and those that count in degrees. At a pole they are infinite, as PostgreSQL's are.
func angleFunction(name string) (definition, bool) {
	var compute func(x float64) float64
	switch name {
	case "sinh":
		compute = func(x float64) float64 { return hyperbola(math.Sinh, x) }
	case "cosh":
		compute = func(x float64) float64 { return hyperbola(math.Cosh, x) }
	case "tanh":
		compute = math.Tanh
	case "asinh":
		compute = math.Asinh
	case "acosh":
		compute = math.Acosh
	case "atanh":
		compute = math.Atanh
	case "cot":
		compute = func(x float64) float64 { return 1 / math.Tan(x) }
	case "sind":
		compute = sineOfDegrees
	case "cosd":
		compute = cosineOfDegrees
	case "tand":
		compute = tangentOfDegrees
	case "cotd":
		compute = cotangentOfDegrees
	case "asind":
		compute = degreesOfSine
	case "acosd":
		compute = degreesOfCosine
	case "atand":
		compute = func(x float64) float64 { return math.Atan(x) / math.Atan(1) * 45 }
	case "atan2d":
		return definition{
			operands: []operandClass{doubleOperand, doubleOperand}, result: datum.Of(datum.Double),
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
				return datum.NewDouble(math.Atan2(a[0].Float(), a[1].Float()) / math.Atan(1) * 45), nil
			},
		}, true
	default:
		return definition{}, false
	}
	return definition{
		operands: []operandClass{doubleOperand}, result: datum.Of(datum.Double),
		apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			x := a[0].Float()
			v := compute(x)
			if math.IsNaN(v) && !math.IsNaN(x) {
				return datum.Datum{}, fault.New(fault.OutOfRange, "%s of %s is not defined", name, a[0])
			}
			return datum.NewDouble(v), nil
		},
	}, true
}

// hyperbola computes sinh or cosh where exp(x) is too large for a float though half of it is not.
func hyperbola(of func(x float64) float64, x float64) float64 {
	const far = 700
	if math.Abs(x) <= far {
		return of(x)
	}
	root := math.Exp(math.Abs(x) / 2)
	return of(math.Copysign(1, x)) / math.Abs(of(1)) * (root / 2 * root)
}

// The functions of degrees scale by what the function gives at an angle whose value is known, so that sind(30) is 0.5 and
// tand(45) is 1 to the last digit.

// inRadians rounds known angles as it rounds others, which an expression of constants would not.
func inRadians(degrees float64) float64 { return degrees * (math.Pi / 180) }

func smallSine(degrees float64) float64 { // 0 to 30
	return math.Sin(inRadians(degrees)) / math.Sin(inRadians(30)) / 2
}

func smallCosine(degrees float64) float64 { // 0 to 60
	return 1 - (1-math.Cos(inRadians(degrees)))/(1-math.Cos(inRadians(60)))/2
}

func quarterSine(degrees float64) float64 { // 0 to 90
	if degrees <= 30 {
		return smallSine(degrees)
	}
	return smallCosine(90 - degrees)
}

func quarterCosine(degrees float64) float64 { // 0 to 90
	if degrees <= 60 {
		return smallCosine(degrees)
	}
	return smallSine(90 - degrees)
}

// quarter is the angle of 0 to 90 degrees with the same sine and cosine but for their signs. NaN and what is infinite give NaN.
func quarter(degrees float64) (angle, sine, cosine float64) {
	angle, sine, cosine = math.Mod(degrees, 360), 1, 1
	if angle < 0 {
		angle, sine = -angle, -1
	}
	if angle > 180 {
		angle, sine = 360-angle, -sine
	}
	if angle > 90 {
		angle, cosine = 180-angle, -1
	}
	return angle, sine, cosine
}

func sineOfDegrees(x float64) float64 {
	angle, sign, _ := quarter(x)
	return sign * quarterSine(angle)
}

func cosineOfDegrees(x float64) float64 {
	angle, _, sign := quarter(x)
	return sign * quarterCosine(angle)
}

func tangentOfDegrees(x float64) float64 {
	angle, sine, cosine := quarter(x)
	return withoutSign(sine * cosine * (quarterSine(angle) / quarterCosine(angle)) / (quarterSine(45) / quarterCosine(45)))
}

func cotangentOfDegrees(x float64) float64 {
	angle, sine, cosine := quarter(x)
	return withoutSign(sine * cosine * (quarterCosine(angle) / quarterSine(angle)) / (quarterCosine(45) / quarterSine(45)))
}

// withoutSign makes zero of minus zero.
func withoutSign(v float64) float64 {
	if v == 0 {
		return 0
	}
	return v
}

func degreesOfSine(x float64) float64 {
	switch {
	case x < 0:
		return -degreesOfSine(-x)
	case x <= 0.5:
		return math.Asin(x) / math.Asin(0.5) * 30
	}
	return 90 - math.Acos(x)/math.Acos(0.5)*60
}

func degreesOfCosine(x float64) float64 {
	switch {
	case x < 0:
		return 90 + degreesOfSine(-x)
	case x <= 0.5:
		return 90 - math.Asin(x)/math.Asin(0.5)*30
	}
	return math.Acos(x) / math.Acos(0.5) * 60
}
