package bench

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that a measurement leaves no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
