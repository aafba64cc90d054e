package executor

import "testing"

// FuzzParseReadLevel checks that a level prints as it is written, and that nothing else is one.
func FuzzParseReadLevel(f *testing.F) {
	for _, name := range ReadLevelNames {
		f.Add(name)
	}
	f.Add("other")
	f.Fuzz(func(t *testing.T, name string) {
		level, err := ParseReadLevel(name)
		if err == nil && level.String() != name {
			t.Fatalf("%q is the level %s", name, level)
		}
	})
}
