package fault

import "strings"

// Constraint says what a DuplicateKey violates.
type Constraint uint8

// The constraints.
const (
	UnknownConstraint Constraint = iota // the failure is no DuplicateKey, or one of which nobody knows more
	PrimaryKey
	UniqueIndex
)

// words begin the sentence of a violation. Clients read them, and so does Recall: a refusal is replicated as its kind and its sentence.
func (c Constraint) words() string {
	switch c {
	case PrimaryKey:
		return "Primary key violation: "
	case UniqueIndex:
		return "Unique violation: "
	case UnknownConstraint:
	}
	return ""
}

// Taken makes the failure of a row that has what another one has already; the format says who has what.
func Taken(constraint Constraint, format string, args ...any) *Error {
	taken := New(DuplicateKey, constraint.words()+format, args...)
	taken.Constraint = constraint
	return taken
}

// Recall makes a failure of its kind and its sentence, as they are replicated. A kind that this version does not know is Internal.
func Recall(kind uint32, message string) *Error {
	recalled := &Error{Kind: Internal, Message: message}
	if kind <= uint32(DiskFull) {
		recalled.Kind = Kind(kind)
	}
	if recalled.Kind != DuplicateKey {
		return recalled
	}
	for _, constraint := range []Constraint{PrimaryKey, UniqueIndex} {
		if strings.HasPrefix(message, constraint.words()) {
			recalled.Constraint = constraint
		}
	}
	return recalled
}
