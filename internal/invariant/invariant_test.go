package invariant

import (
	"errors"
	"testing"
)

func TestCheckPanicsWithAViolation(t *testing.T) {
	t.Parallel()
	defer func() {
		err, ok := recover().(error)
		var violation ViolationError
		if !ok || !errors.As(err, &violation) {
			t.Fatalf("recovered %v, want a ViolationError", err)
		}
		if want := "invariant violated: index 3 after 5"; err.Error() != want {
			t.Errorf("message = %q, want %q", err.Error(), want)
		}
	}()
	Check(true, "never seen")
	Check(false, "index %d after %d", 3, 5)
	t.Error("Check(false) returned")
}
