// Package jsontext reads JSON documents where they are written, without taking them apart into values.
//
// The main type is Walk. It tells whether a document is valid, goes through the parts of objects and arrays, finds members and elements, and
// reads and writes strings. It counts the bytes that it goes over and asks now and then whether its statement may go on: once it may not,
// everything ends quickly and Err says why. Whatever it gives is a piece of the document, or new text.
//
// Only Valid checks anything. All else takes documents that are valid, as it says. The parts of a document come in the order in which they
// are written; of members with the same key the last one counts.
package jsontext

// Member is the last one of an object that has a key.
func (w *Walk) Member(m []byte, key string) (found []byte, ok bool) {
	if len(m) == 0 || m[0] != '{' {
		return nil, false
	}
	w.EachPart(m, func(written, value []byte) bool {
		if w.IsKey(written, key) {
			found, ok = value, true
		}
		return true
	})
	return found, ok
}

// Element is the one of an array that has an index, which counts from the end when it is negative.
func (w *Walk) Element(m []byte, index int64) (found []byte, ok bool) {
	if len(m) == 0 || m[0] != '[' {
		return nil, false
	}
	if index < 0 {
		index += w.CountParts(m)
	}
	at := int64(-1)
	w.EachPart(m, func(_, value []byte) bool {
		at++
		found, ok = value, at == index
		return !ok
	})
	return found, ok
}

// CountParts counts the members of an object, or the elements of an array.
func (w *Walk) CountParts(m []byte) (count int64) {
	w.EachPart(m, func(_, _ []byte) bool {
		count++
		return true
	})
	return count
}
