package expr

// KeptBytes estimates the memory of the values that the accumulator keeps until its result is asked for, so
// that a query of many groups can be bounded as a whole. It is zero for aggregates that keep a number.
func (a *Accumulator) KeptBytes() int { return keptBytes(a.aggregate) }

func keptBytes(aggregate Aggregate) int {
	switch a := aggregate.(type) {
	case *distinctAggregate:
		return a.bytes + keptBytes(a.inner)
	case *orderedAggregate:
		return a.bytes
	case *stringAggregate:
		return len(a.text)
	case *jsonAggregate:
		return len(a.out)
	case *anyAggregate:
		return valueBytes(a.value)
	case *arrayAggregate:
		return a.bytes
	case *orderedSet:
		return a.bytes
	case *extremeAggregate:
		return len(a.best.Str())
	}
	return 0
}

// KeepsValues reports whether a call's accumulators keep more than a number, so that KeptBytes has to be asked.
func (c *AggregateCall) KeepsValues() bool {
	switch plainAggregate(c).(type) {
	case *countAggregate, *sumAggregate, *boolAggregate, *bitAggregate, *statistics, groupingBits:
		return c.Distinct || len(c.OrderBy) > 0
	}
	return true
}
