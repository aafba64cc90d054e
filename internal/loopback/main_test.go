package loopback

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that wires leave no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
