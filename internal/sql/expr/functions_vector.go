package expr

import (
	"math"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// vectorFunction holds the distances between embeddings.
func vectorFunction(name string) (definition, bool) {
	switch name {
	case "cosine_distance", "l2_distance", "euclidean_distance", "inner_product", "negative_inner_product", "dot_product":
	default:
		return definition{}, false
	}
	return definition{
		operands: []operandClass{vectorOperand, vectorOperand}, result: datum.Of(datum.Double),
		apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			x, y := a[0].Embedding(), a[1].Embedding()
			if len(x) != len(y) {
				return datum.Datum{}, fault.New(fault.InvalidStatement, "%s of embeddings with %d and %d dimensions", name, len(x), len(y))
			}
			return distance(name, x, y), nil
		},
	}, true
}

// distance sums in binary64. The cosine distance of a zero vector is NULL, for it has no direction.
func distance(name string, x, y []float32) datum.Datum {
	var dot, xx, yy, squares float64
	for i := range x {
		a, b := float64(x[i]), float64(y[i])
		dot += a * b
		xx += a * a
		yy += b * b
		squares += (a - b) * (a - b)
	}
	switch name {
	case "cosine_distance":
		if xx == 0 || yy == 0 {
			return datum.Datum{}
		}
		similarity := dot / (math.Sqrt(xx) * math.Sqrt(yy))
		return datum.NewDouble(1 - max(min(similarity, 1), -1))
	case "l2_distance", "euclidean_distance":
		return datum.NewDouble(math.Sqrt(squares))
	case "negative_inner_product":
		return datum.NewDouble(-dot)
	}
	return datum.NewDouble(dot)
}
