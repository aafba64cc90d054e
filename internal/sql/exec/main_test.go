package exec_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that engines leave no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
