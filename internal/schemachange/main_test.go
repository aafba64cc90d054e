package schemachange

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that schema changes leave no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
