package jobs

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that runners leave no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
