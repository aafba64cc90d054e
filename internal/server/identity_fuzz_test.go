package server

import (
	"fmt"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// FuzzParseIdentity gives any bytes, and any JSON under a valid checksum, to the reader of node.id. What it takes, it
// writes and takes again.
func FuzzParseIdentity(f *testing.F) {
	f.Add(`{"version":1,"state":"member","store_id":"000102030405060708090a0b0c0d0e0f","node_id":3,"cluster_id":"c","replica_id":7}`)
	f.Add(`{"version":1,"state":"damaged","store_id":"","damage":{"store_id":"x","reason":"r"}}`)
	f.Add(`{`)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, body string) {
		if _, err := parseIdentity([]byte(body)); err == nil {
			t.Skip("a checksum by chance")
		}
		id, err := parseIdentity(fmt.Appendf(nil, "%s %s\n", checksum([]byte(body)), body))
		if err != nil {
			return
		}
		if err = id.save(disk.Local(), dir); err != nil {
			t.Fatal(err)
		}
		raw, err := readFile(disk.Local(), dir+"/"+identityFile)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseIdentity(raw)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(id) {
			t.Fatalf("%+v comes back as %+v, %v", id, again, err)
		}
	})
}
