package server

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// firstIdentity is a node.id as the first program wrote it.
const firstIdentity = `{"version":1,"state":"member","store_id":"000102030405060708090a0b0c0d0e0f","node_id":3,"cluster_id":"c","replica_id":7}`

// line puts the checksum before an identity.
func line(body string) []byte { return fmt.Appendf(nil, "%s %s\n", checksum([]byte(body)), body) }

// TestNewerDirectoryIsRefused starts a node in the directory of one of a newer version: it says so, and what to do, before
// it touches anything.
func TestNewerDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	n := openNode(t, cfg, Options{})
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cfg.Storage.DataPath, identityFile)
	raw, err := readFile(disk.Local(), path)
	if err != nil {
		t.Fatal(err)
	}
	body := strings.TrimSuffix(string(raw[9:]), "\n")
	newer := strings.Replace(body, fmt.Sprintf(`"version":%d`, dataFormat), fmt.Sprintf(`"version":%d`, pairsFormat+1), 1)
	newer = strings.Replace(newer, `"state"`, `"program":"v9.8.7","state"`, 1)
	if newer == body {
		t.Fatalf("%s has no format %d", body, dataFormat)
	}
	if err = disk.WriteFileAtomic(disk.Local(), path, line(newer)); err != nil {
		t.Fatal(err)
	}
	before := files(t, cfg.Storage.DataPath)
	again, err := Open(t.Context(), cfg, Options{})
	if err == nil {
		_ = again.Close(t.Context()) // the test has failed
		t.Fatal("a node starts in the directory of a newer version")
	}
	for _, want := range []string{path, "newer program", fmt.Sprintf("format is %d", pairsFormat+1), fmt.Sprintf("up to %d", pairsFormat), "start version v9.8.7"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the refusal %q does not say %q", err, want)
		}
	}
	if after := files(t, cfg.Storage.DataPath); after != before {
		t.Errorf("the refused node changed the directory from\n%s\nto\n%s", before, after)
	}
}

// files lists a directory and what lies below.
func files(t *testing.T, dir string) string {
	t.Helper()
	var all bytes.Buffer
	for _, below := range []string{"", "log", "store"} {
		names, err := disk.Local().List(filepath.Join(dir, below))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, below, names)
	}
	raw, err := readFile(disk.Local(), filepath.Join(dir, identityFile))
	if err != nil {
		t.Fatal(err)
	}
	return all.String() + string(raw)
}

// TestOlderDirectoryIsRaised starts a node in a directory of the first format: from then on programs that read only that
// one refuse it.
func TestOlderDirectoryIsRaised(t *testing.T) {
	t.Parallel()
	fsys, dir := disk.Local(), t.TempDir()
	if err := disk.WriteFileAtomic(fsys, filepath.Join(dir, identityFile), line(firstIdentity)); err != nil {
		t.Fatal(err)
	}
	id, err := loadIdentity(fsys, dir, nil)
	if err != nil || id.Version != 1 || id.Replica != 7 {
		t.Fatalf("the first format is read as %+v, %v", id, err)
	}
	if err = id.raise(fsys, dir, "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	raw, err := readFile(fsys, filepath.Join(dir, identityFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = parseIdentityUpTo(raw, 1); !errors.Is(err, errNewerData) || !strings.Contains(err.Error(), "v1.2.3") {
		t.Errorf("a program of the first format: %v", err)
	}
	if id, err = parseIdentity(raw); err != nil || id.Version != dataFormat || id.Program != "v1.2.3" || id.Replica != 7 {
		t.Errorf("this program reads %+v, %v", id, err)
	}
}
