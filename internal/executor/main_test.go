package executor

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that executors leave no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
