package multiraft

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that managers leave no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
