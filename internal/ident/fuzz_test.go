package ident

import (
	"strings"
	"testing"
)

// FuzzParseID16 checks that any text gives an error or an identifier that prints as the text does.
func FuzzParseID16(f *testing.F) {
	f.Add("000102030405060708090a0b0c0d0e0f")
	f.Add("000102030405060708090A0B0C0D0E0F00")
	f.Add("x")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID16(text)
		if err == nil && ClusterUID(id).String() != strings.ToLower(text) {
			t.Fatalf("%q is %s", text, ClusterUID(id))
		}
	})
}
