package server

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore/objstoretest"
)

// filesIn lists the files below a directory, in their order.
func filesIn(t *testing.T, directory string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			relative, _ := filepath.Rel(directory, path) // it is below
			found = append(found, relative)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var segmentName = regexp.MustCompile(`/batch-[0-9]+\.parquet$`)

// numbersOut takes the numbers out of the names of segments.
func numbersOut(files []string) []string {
	for i := range files {
		files[i] = segmentName.ReplaceAllString(files[i], "/batch-<n>.parquet")
	}
	return files
}

// keysOf lists the members of a JSON object.
func keysOf(object map[string]any) string {
	return strings.Join(slices.Sorted(maps.Keys(object)), " ")
}

// TestLayoutOfColdFiles flushes tables of both kinds into the storage that is always there and into one with templates of its own, and looks at every file:
// where it is, how it is named, and what manifest.json says to programs that know it from other servers.
func TestLayoutOfColdFiles(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, withShards(2, 1))
	archive := t.TempDir()
	root.sql("CREATE STORAGE archive TYPE filesystem PATH '" + archive + "' SHARED_TABLES_TEMPLATE 'all/{tableName}/of/{namespace}'" +
		" USER_TABLES_TEMPLATE 'people/{userId}/{namespace}/{tableName}'")
	root.sql("CREATE NAMESPACE app")
	flush := func(name string) {
		t.Helper()
		if moved, err := n.flusher().Table(t.Context(), mustTable(t, n, "app", name), nil); err != nil || moved.Segments != 1 {
			t.Fatalf("flush of %s: %+v, %v", name, moved, err)
		}
	}
	for name, with := range map[string]string{"shared": "", "own": "TYPE = 'USER'", "kept": "STORAGE_ID = 'archive'", "mine": "TYPE = 'USER', STORAGE_ID = 'archive'"} {
		sql := "CREATE TABLE app." + name + " (id BIGINT PRIMARY KEY, name TEXT)"
		if with != "" {
			sql += " WITH (" + with + ")"
		}
		root.sql(sql)
		root.sql("INSERT INTO app." + name + " VALUES (5, 'five'), (7, NULL)")
		flush(name)
	}
	root.sql("INSERT INTO app.own VALUES (9, 'nine')")
	flush("own")
	scopes, err := cold.Scopes(n.catalog.Current(), n.store, dataGroups(n.who().Shards))
	if err != nil {
		t.Fatal(err)
	}
	if err = n.cold.Tend(t.Context(), scopes); err != nil {
		t.Fatal(err)
	}
	local := filepath.Join(n.cfg.Storage.DataPath, "storage")
	for directory, want := range map[string][]string{
		local: {
			"app/own/root/batch-<n>.parquet", "app/own/root/batch-<n>.parquet", "app/own/root/manifest.json", "app/shared/batch-<n>.parquet",
			"app/shared/manifest.json",
		},
		archive: {
			"all/kept/of/app/batch-<n>.parquet", "all/kept/of/app/manifest.json", "people/root/app/mine/batch-<n>.parquet", "people/root/app/mine/manifest.json",
		},
	} {
		if got := numbersOut(filesIn(t, directory)); !slices.Equal(got, want) {
			t.Errorf("%s has %q, want %q", directory, got, want)
		}
	}
	raw, err := os.ReadFile(filepath.Join(local, "app/own/root/manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err = json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	segments, _ := file["segments"].([]any)
	if got := keysOf(file); got != "cluster created_at last_sequence_number segments table_id updated_at user_id vector_indexes version" || len(segments) != 2 {
		t.Fatalf("manifest.json has the members %s and %d segments", got, len(segments))
	}
	first, _ := segments[0].(map[string]any)
	if got := keysOf(first); got != "column_stats created_at id max_seq min_seq path row_count schema_version sha256 size_bytes status" {
		t.Errorf("a segment has the members %s", got)
	}
	second, _ := segments[1].(map[string]any)
	if file["table_id"] != "app.own" || file["user_id"] != "root" || file["last_sequence_number"] != second["max_seq"] || first["status"] != "committed" ||
		first["path"] != fmt.Sprintf("batch-%v.parquet", first["id"]) || first["row_count"] != 2.0 || first["schema_version"] != 1.0 {
		t.Errorf("manifest.json is %s", raw)
	}
	stats, err := json.Marshal(first["column_stats"])
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"1":{"max":{"Int64":"7"},"min":{"Int64":"5"},"null_count":0},"2":{"max":{"Utf8":"five"},"min":{"Utf8":"five"},"null_count":1}}`
	if string(stats) != want {
		t.Errorf("the columns are described as %s, want %s", stats, want)
	}
}

// TestStorageCheckTellsWhatIsWrong looks at the columns of the answer, and at its error for each way in which a storage can be unusable.
func TestStorageCheckTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	server := objstoretest.NewServer(t)
	_, root := oneNode(t, withKey)
	directory := filepath.Join(t.TempDir(), "archive")
	root.sql("CREATE STORAGE disk TYPE filesystem PATH '" + directory + "'")
	root.sql(s3Statement("cloud", server))
	_, a := root.ask("STORAGE CHECK disk EXTENDED")
	var names []string
	for _, column := range a.Results[0].Schema {
		names = append(names, column.Name)
	}
	if got := strings.Join(names, " "); got != "storage_id status readable writable listable deletable latency_ms total_bytes used_bytes error tested_at" {
		t.Errorf("the answer has the columns %s", got)
	}
	check := func(id, want string, parts ...string) {
		t.Helper()
		got := root.grid("STORAGE CHECK " + id)
		for _, part := range append(parts, id+"|"+want+"|") {
			if !strings.Contains(got, part) {
				t.Errorf("%s: %s, want %q", id, got, part)
			}
		}
	}
	check("disk", "healthy", "|true|true|true|true|", "|null|null|null|") // nobody asked for the room
	if err := os.RemoveAll(directory); err != nil {
		t.Fatal(err)
	}
	check("disk", "healthy") // it is made again
	if err := os.RemoveAll(directory); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(directory, []byte("in the way"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("disk", "unreachable", "|false|false|false|false|", "not a directory")
	check("cloud", "healthy")
	for code, status := range map[string]int{
		"InvalidAccessKeyId": http.StatusForbidden, "SignatureDoesNotMatch": http.StatusForbidden, "AccessDenied": http.StatusForbidden,
	} {
		server.Fail(func(*http.Request) http.Handler { return objstoretest.Answer(status, code) })
		check("cloud", "unreachable", "|false|false|false|false|", code)
	}
	server.Fail(func(*http.Request) http.Handler {
		return objstoretest.Wrap(func(w http.ResponseWriter, r *http.Request, s3 http.Handler) {
			r.URL.Path = strings.Replace(r.URL.Path, objstoretest.Bucket, "there-is-none", 1)
			s3.ServeHTTP(w, r)
		})
	})
	check("cloud", "unreachable", "|false|false|false|false|", "bucket does not exist")
	server.Fail(func(r *http.Request) http.Handler { // who may read and nothing else
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return nil
		}
		return objstoretest.Answer(http.StatusForbidden, "AccessDenied")
	})
	check("cloud", "degraded", "|false|false|true|false|", "write: ")
	server.Fail(nil)
	missing := strings.ReplaceAll(s3Statement("other", server), objstoretest.Bucket, "there-is-none") // the server's own answer
	if status, a := root.ask(missing); status != http.StatusBadRequest || !strings.Contains(a.Error.Message, "bucket does not exist") {
		t.Errorf("a bucket that is not there: %d %+v", status, a.Error)
	}
}
