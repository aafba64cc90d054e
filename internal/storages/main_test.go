package storages_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that storages leave no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
