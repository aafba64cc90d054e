package disk_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that file systems leave no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
