package oracle

import "strings"

// difference is one way in which the two systems are meant to differ.
type difference struct {
	reason string
	holds  func(query string, ours, theirs answer) bool
}

// differences are known and intended: where the dialects differ, this server follows PostgreSQL. What can be avoided
// without losing cover is avoided by the generator instead (whole division, default places of NULLs, division by zero).
var differences = []difference{
	{
		reason: "a sum or product beyond the type is an error here and a wider type (HUGEINT) there",
		holds: func(_ string, ours, theirs answer) bool {
			return theirs.err == nil && ours.err != nil && strings.Contains(ours.err.Error(), "out of range")
		},
	},
	{
		reason: "an infinite or vanishing binary64 result is an error here and a value there",
		holds: func(query string, ours, theirs answer) bool {
			return theirs.err == nil && ours.err != nil && strings.Contains(query, "d *") && strings.Contains(ours.err.Error(), "DOUBLE out of range")
		},
	},
	{
		reason: "the sides of a set operation must have types of one family, as in PostgreSQL; DuckDB turns numbers into text",
		holds: func(_ string, ours, theirs answer) bool {
			return theirs.err == nil && ours.err != nil && strings.Contains(ours.err.Error(), "of a set operation is")
		},
	},
	{
		reason: "DuckDB refuses to order by a constant that is no number of a column; PostgreSQL takes a constant expression",
		holds: func(_ string, ours, theirs answer) bool {
			return ours.err == nil && theirs.err != nil && strings.Contains(theirs.err.Error(), "ORDER BY non-integer literal has no effect")
		},
	},
}

// known returns the reason of a difference that is on the list.
func known(query string, ours, theirs answer) (reason string, ok bool) {
	for _, d := range differences {
		if d.holds(query, ours, theirs) {
			return d.reason, true
		}
	}
	return "", false
}
