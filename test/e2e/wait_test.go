package e2e

import (
	"testing"
	"time"
)

// waitLimit is how long anything may take that should happen soon.
const waitLimit = 30 * time.Second

// eventually calls attempt until it returns nil, and fails the test with the last error at the deadline.
func eventually(t *testing.T, what string, attempt func() error) {
	t.Helper()
	deadline := time.Now().Add(waitLimit)
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		err := attempt()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, waitLimit, err)
		}
		<-tick.C
	}
}
