package server

import (
	"errors"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore/objstoretest"
)

// TestManifestThatWasDeletedLate has a node that does not lead delete the manifest.json of a scope in a bucket for an account that is not the one any more when
// the delete is done: the node writes it anew. The leader, which wrote it, does not know that it is gone.
func TestManifestThatWasDeletedLate(t *testing.T) {
	t.Parallel()
	server := objstoretest.NewServer(t)
	nodes := openCluster(t, withShards(1, 1), withKey)
	waitReady(t, nodes...)
	root := login(t, nodes[0], "root", rootPassword)
	root.sql(s3Statement("archive", server))
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE = 'SHARED', STORAGE_ID = 'archive')")
	root.sql("INSERT INTO app.t VALUES (1, 'one')")
	flushTable(t, root, nodes[0], "app.t")
	leader, others := leaderAmong(t, shard.SharedShard(0), nodes)
	tendFiles(t, leader)
	objects, err := others[0].cold.Objects("archive")
	if err != nil {
		t.Fatal(err)
	}
	written := func() (found string) {
		t.Helper()
		if failed := objects.List(t.Context(), "", func(o objstore.ObjectInfo) error {
			if strings.HasSuffix(o.Key, "/"+cold.ManifestName) {
				found = o.Key
			}
			return nil
		}); failed != nil {
			t.Fatal(failed)
		}
		return found
	}
	name := written()
	directory, _, found := strings.Cut(name, "/"+cold.ManifestName)
	if !found {
		t.Fatal("there is no manifest.json")
	}
	another, asked := errors.New("the account is another one"), 0
	deleted, _, err := others[0].cold.DropDirectory(t.Context(), "archive", directory, func() error {
		if asked++; asked > 2 { // behind the list, and in front of the delete
			return another
		}
		return nil
	})
	if !errors.Is(err, another) || deleted != 2 {
		t.Fatalf("%d files went, %v", deleted, err)
	}
	tendFiles(t, leader)
	tendFiles(t, others[0])
	if got := written(); got != name {
		t.Errorf("there is %q, want %q", got, name)
	}
}
