package changefeed

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that feeds leave no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
