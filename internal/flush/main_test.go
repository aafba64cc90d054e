package flush

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that flushes leave no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
