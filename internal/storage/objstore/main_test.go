package objstore_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that stores leave no goroutine behind.
// net/http waits half a second before it closes a connection of which it has not read all.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}
