package wsapi

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that outboxes and connections leave no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
