package jsonpath

// member is .key and .*.
func (e *evaluation) member(n *node, i Item, visit Visit) error {
	switch {
	case i.kind() != objectValue && !e.strictNow:
		return nil
	case i.kind() != objectValue && n.kind == anyKeyNode:
		return refuse("jsonpath wildcard member accessor can only be applied to an object")
	case i.kind() != objectValue:
		return refuse("jsonpath member accessor can only be applied to an object")
	case n.kind == anyKeyNode:
		return e.each(n, i, visit)
	}
	value, ok := e.Walk.Member(i.written, n.text)
	switch {
	case e.Walk.Err != nil:
		return e.Walk.Err
	case ok:
		return e.following(n, pieceItem(value), visit)
	case e.strictNow:
		return refuse("JSON object does not contain key %q", n.text)
	}
	return nil
}

// each gives every part of an item to the steps behind a wildcard.
func (e *evaluation) each(n *node, i Item, visit Visit) error {
	return e.parts(i, func(_ []byte, part Item) error { return e.following(n, part, visit) })
}

// accessor is [*], [subscripts] and .**.
func (e *evaluation) accessor(n *node, i Item, visit Visit) error {
	switch n.kind { //nolint:exhaustive // the accessors of arrays
	case anyDepthNode:
		if n.first == 0 {
			if err := e.lenient(func() error { return e.following(n, i, visit) }); err != nil {
				return err
			}
		}
		return e.depths(n, i, 1, visit)
	case elementsNode:
		return e.elements(n, i, visit)
	}
	switch {
	case i.kind() == arrayValue:
		return e.each(n, i, visit)
	case !e.strict:
		return e.following(n, i, visit)
	case e.strictNow:
		return refuse("jsonpath wildcard array accessor can only be applied to an array")
	}
	return nil
}

// depths gives the parts of an item on the levels of a .**, each before its own parts.
func (e *evaluation) depths(n *node, i Item, level uint32, visit Visit) error {
	if level > n.last {
		return nil
	}
	return e.parts(i, func(_ []byte, part Item) error {
		leaf := n.first == lastLevel && n.last == lastLevel && !part.isContainer()
		if level >= n.first || leaf {
			if err := e.lenient(func() error { return e.following(n, part, visit) }); err != nil {
				return err
			}
		}
		if level < n.last {
			return e.depths(n, part, level+1, visit)
		}
		return nil
	})
}

// elements gives those that subscripts name.
func (e *evaluation) elements(n *node, i Item, visit Visit) error {
	isArray := i.kind() == arrayValue
	switch {
	case !isArray && e.strict && e.strictNow:
		return refuse("jsonpath array accessor can only be applied to an array")
	case !isArray && e.strict:
		return nil
	}
	saved := e.size
	defer func() { e.size = saved }()
	size := 1 // in lax mode what is no array is one of itself
	var list []byte
	if isArray {
		size, list = int(e.Walk.CountParts(i.written)), i.written
	}
	for _, r := range n.ranges {
		e.size = size
		from, to, err := e.bounds(r, i)
		if err != nil {
			return err
		}
		if e.strictNow && (from < 0 || from > to || to >= size) {
			return refuse("jsonpath array subscript is out of bounds")
		}
		from, to = max(from, 0), min(to, size-1)
		if from > to {
			continue
		}
		if list == nil {
			err = e.following(n, i, visit)
		} else {
			err = e.between(n, list, from, to, visit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// between gives the elements from an index to another one, both included.
func (e *evaluation) between(n *node, list []byte, from, to int, visit Visit) error {
	at := -1
	var err error
	e.Walk.EachPart(list, func(_, value []byte) bool {
		if at++; at < from {
			return true
		}
		if err = e.step(); err == nil {
			err = e.following(n, pieceItem(value), visit)
		}
		return err == nil && at < to
	})
	if err == nil {
		err = e.Walk.Err
	}
	return err
}

func (e *evaluation) bounds(r indexRange, i Item) (from, to int, err error) {
	if from, err = e.index(r.from, i); err != nil || r.to == nil {
		return from, from, err
	}
	to, err = e.index(r.to, i)
	return from, to, err
}

// offset is where an object stands in what ids count from.
func (e *evaluation) offset(i Item) int64 {
	return int64(max(cap(e.base.document)-cap(i.written), 0))
}
