package server

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets more tests run side by side than there are processors, for most of their time they wait for
// elections, syncs and deadlines (not so under the race detector: there they compute, and clusters that have too little
// time to answer are no subject of theirs), and checks that nodes leave no goroutine behind; idle connections of HTTP clients may stay.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given && !raceDetector {
		if err := flag.Set("test.parallel", "6"); err != nil {
			println(err.Error())
			os.Exit(2)
		}
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait")) // net/http waits half a second before it closes what it has not read
}
