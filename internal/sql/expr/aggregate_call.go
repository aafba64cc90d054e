package expr

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// Grouping collects what a grouped query computes. Bind with it reads rows laid out as the values of Keys
// followed by the results of Calls: an expression equal to a key becomes that column, an aggregate call
// is added to Calls (once) and becomes its column, and any other column is an error.
type Grouping struct {
	Keys []Expr // GROUP BY expressions, bound over the input scope
	// Sets are the grouping sets: which keys rows are grouped by, each row once for each set. The other keys are NULL in the groups
	// of a set. Nil is one set of all keys.
	Sets  [][]int
	Calls []*AggregateCall // filled by Bind
}

// AggregateCall is one aggregate of a grouped query. Its operands are evaluated over input rows.
type AggregateCall struct {
	Name     string // lower case: count, sum, avg, string_agg, stddev, json_agg and the like, or grouping
	Star     bool   // count(*); with DISTINCT and operands, combinations of them count, those with NULL too
	Distinct bool
	Args     []Expr // one operand, or two: string_agg has its separator second
	OrderBy  []Order
	Filter   Expr // nil when none
	Result   datum.Type
	// Within is the order of an ordered-set aggregate (percentile_cont, percentile_disc, mode), whose only operand it orders, and
	// Direct its fraction, or array of fractions, which reads no row.
	Within *Order
	Direct Expr
	// Keys are the keys that GROUPING asks for, one bit each, and Bits what it gives in the groups of one set, which the executor fills
	// in.
	Keys []int
	Bits datum.Datum
}

// Order is one item of an ordering.
type Order struct {
	Expr       Expr
	Descending bool
	NullsFirst bool
}

// String prints the call in a canonical form.
func (c *AggregateCall) String() string {
	var b strings.Builder
	b.WriteString(c.Name + "(")
	for i, key := range c.Keys {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("key " + itoa(key))
	}
	if c.Distinct {
		b.WriteString("DISTINCT ")
	}
	if c.Star {
		b.WriteString("*")
	}
	if c.Within == nil {
		b.WriteString(joinExprs(c.Args, ", "))
	} else if c.Direct != nil {
		b.WriteString(c.Direct.String())
	}
	for i, item := range c.OrderBy {
		if i == 0 {
			b.WriteString(" ORDER BY ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(item.String())
	}
	b.WriteString(")")
	if c.Within != nil {
		b.WriteString(" WITHIN GROUP (ORDER BY " + c.Within.String() + ")")
	}
	if c.Filter != nil {
		b.WriteString(" FILTER (WHERE " + c.Filter.String() + ")")
	}
	return b.String()
}

// String prints the item as SQL.
func (o Order) String() string {
	text := o.Expr.String()
	if o.Descending {
		text += " DESC"
	}
	if o.NullsFirst {
		return text + " NULLS FIRST"
	}
	return text + " NULLS LAST"
}

// Compare orders two values of the item: negative when a comes first.
func (o Order) Compare(a, b datum.Datum) int {
	switch {
	case a.IsNull() && b.IsNull():
		return 0
	case a.IsNull() != b.IsNull():
		if a.IsNull() == o.NullsFirst {
			return -1
		}
		return 1
	case o.Descending:
		return datum.Compare(b, a)
	}
	return datum.Compare(a, b)
}
