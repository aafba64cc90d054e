package client_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that subscriptions and servers leave no goroutine behind; idle HTTP connections may stay.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait")) // net/http waits half a second before it closes what it has not read
}
