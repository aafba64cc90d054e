package storages

import (
	"encoding/base64"
	"strings"
	"testing"
)

// FuzzParseKeys checks that any text gives an error or keys that open what they sealed.
func FuzzParseKeys(f *testing.F) {
	key := base64.StdEncoding.EncodeToString(make([]byte, KeyBytes))
	f.Add(key)
	f.Add(key + ", " + strings.Replace(key, "A", "B", 1))
	f.Add(",")
	f.Fuzz(func(t *testing.T, text string) {
		ring, err := ParseKeys(text)
		if err != nil || text == "" {
			return
		}
		const secret = `{"secret_key":"s"}`
		sealed, err := ring.Seal("store", secret)
		if err != nil {
			t.Fatalf("seal: %v", err)
		}
		opened, err := ring.Open("store", sealed)
		if err != nil || opened != secret {
			t.Fatalf("opened %q, %v, want %q", opened, err, secret)
		}
	})
}

// FuzzOpen checks that no credentials but those that were sealed come out of Open as if they had been.
func FuzzOpen(f *testing.F) {
	ring, err := ParseKeys(base64.StdEncoding.EncodeToString(make([]byte, KeyBytes)))
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := ring.Seal("store", `{"secret_key":"s"}`)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealedPrefix)
	f.Add(sealedPrefix + "00000000:")
	f.Add(`{"secret_key":"s"}`)
	f.Fuzz(func(t *testing.T, stored string) {
		opened, err := ring.Open("store", stored)
		if err == nil && Sealed(stored) && opened != `{"secret_key":"s"}` {
			t.Fatalf("%q opens to %q", stored, opened)
		}
	})
}
