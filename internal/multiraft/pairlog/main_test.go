package pairlog_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that logs leave no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
