package cold

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that stores of cold rows leave no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
