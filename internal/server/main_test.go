package server

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that nodes leave no goroutine behind; idle connections of HTTP clients may stay.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}
