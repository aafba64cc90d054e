package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// TestViolationsAreRecalled: what a violation is of outlives its way through the log, which has its kind and its sentence alone.
func TestViolationsAreRecalled(t *testing.T) {
	t.Parallel()
	cause := errors.New("taken")
	for constraint, want := range map[fault.Constraint]string{
		fault.PrimaryKey: "Primary key violation: a row with key Unique violation:  exists taken", fault.UniqueIndex: "Unique violation: a row with key Unique violation:  exists taken",
	} {
		made := fault.Taken(constraint, "a row with key %s exists %w", "Unique violation: ", cause)
		if made.Kind != fault.DuplicateKey || made.Message != want || !errors.Is(made, cause) ||
			fault.ConstraintOf(fault.New(fault.DuplicateKey, "column: %w", fmt.Errorf("apply: %w", made))) != constraint {
			t.Errorf("made %+v, want %q of %d", made, want, constraint)
		}
		recalled := fault.Recall(uint32(made.Kind), made.Message)
		if recalled.Kind != made.Kind || recalled.Message != made.Message || recalled.Constraint != constraint {
			t.Errorf("recalled %+v of %+v", recalled, made)
		}
		if at := recalled.At(2, 3); at.Constraint != constraint {
			t.Errorf("with a place it is %+v", at)
		}
	}
	for _, other := range []*fault.Error{
		fault.Recall(uint32(fault.Conflict), "Primary key violation: or so"), fault.Recall(uint32(fault.DuplicateKey), "another Primary key violation: "),
		fault.New(fault.DuplicateKey, "Primary key violation: by words alone"),
	} {
		if other.Constraint != fault.UnknownConstraint {
			t.Errorf("%+v has a constraint", other)
		}
	}
	if fault.ConstraintOf(cause) != fault.UnknownConstraint {
		t.Error("an ordinary error has a constraint")
	}
	for kind := range uint32(fault.DiskFull) + 1 {
		if got := fault.Recall(kind, "x").Kind; uint32(got) != kind {
			t.Errorf("kind %d is recalled as %s", kind, got)
		}
	}
	if got := fault.Recall(uint32(fault.DiskFull)+1, "x").Kind; got != fault.Internal {
		t.Errorf("an unknown kind is recalled as %s", got)
	}
}
