package server

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/export"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// get downloads a path.
func (c client) get(path string) (status int, header http.Header, body []byte, err error) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.url+path, http.NoBody)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, response.Header, body, errors.Join(err, response.Body.Close())
}

// openZIP reads an export that was downloaded.
func openZIP(t *testing.T, body []byte) (files map[string][]byte, about export.About) {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	files = map[string][]byte{}
	for _, f := range archive.File {
		from, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[f.Name], err = io.ReadAll(from); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
	}
	if err := json.Unmarshal(files["export.json"], &about); err != nil {
		t.Fatal(err)
	}
	return files, about
}

// TestExportIsDownloadedFromEveryNode exports a user's rows, hot and cold, and downloads the file from all three nodes: by the
// user, by an administrator, and not by others.
func TestExportIsDownloadedFromEveryNode(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, withShards(2, 1))
	waitReady(t, nodes...)
	root, people := fillDatabase(t, nodes[0], 2)
	root.sql("CREATE STREAM TABLE app.clicks (what TEXT) WITH (TTL_SECONDS = 86400)")
	people[0].sql("INSERT INTO app.clicks VALUES ('one'), ('two')")
	completed(t, nodes[0], root, "STORAGE FLUSH TABLE app.notes") // the first rows are cold
	people[0].sql("UPDATE app.notes SET body = 'hot again' WHERE id = 5")
	people[0].sql("DELETE FROM app.notes WHERE id = 6")
	if got := people[0].grid("SHOW EXPORT"); got != "" {
		t.Errorf("before the first export: %q", got)
	}
	job := completed(t, nodes[0], people[0], "EXPORT USER DATA")
	id := catalog.JobID(job)
	if !strings.HasPrefix(id, "UE-") || job.GetUser() != "user0" {
		t.Errorf("the job is %s of %s", id, job.GetUser())
	}
	url := "/v1/exports/user0/" + id
	if got := people[0].grid("SHOW EXPORT"); !strings.HasPrefix(got, id+"|completed|") || !strings.HasSuffix(got, "|"+url) {
		t.Errorf("SHOW EXPORT: %q", got)
	}
	if got := people[1].grid("SHOW EXPORT"); got != "" {
		t.Errorf("another user's SHOW EXPORT: %q", got)
	}
	var first []byte
	for i, n := range nodes {
		for _, c := range []client{login(t, n, "user0", "Secret-of-a-user-1"), login(t, n, "root", rootPassword)} {
			status, header, body, err := c.get(url)
			if err != nil || status != http.StatusOK || header.Get("Content-Type") != "application/zip" {
				t.Fatalf("node %d: %d %v %s %v", i+1, status, header, body[:min(len(body), 300)], err)
			}
			if first == nil {
				first = body
			}
			if !bytes.Equal(body, first) {
				t.Errorf("node %d gives another file", i+1)
			}
		}
		stranger := login(t, n, "user1", "Secret-of-a-user-1")
		for path, want := range map[string]int{url: http.StatusForbidden, "/v1/exports/user1/" + id: http.StatusNotFound, "/v1/exports/user1/UE-999": http.StatusNotFound, "/v1/exports/": http.StatusNotFound} {
			if status, _, body, _ := stranger.get(path); status != want {
				t.Errorf("node %d: another user gets %s: %d %s", i+1, path, status, body)
			}
		}
		if status, _, _, _ := (client{t: t, url: stranger.url}).get(url); status != http.StatusUnauthorized {
			t.Errorf("node %d: without a token: %d", i+1, status)
		}
	}
	files, about := openZIP(t, first)
	checkExport(t, files, &about, people[0])
	exportWithANodeDown(t, nodes, id)
}

// exportWithANodeDown takes the node down on which the file of an export lies: others say so, and export again.
func exportWithANodeDown(t *testing.T, nodes []*Node, id string) {
	t.Helper()
	result, err := nodes[0].exports.Find(t.Context(), "user0", id)
	if err != nil {
		t.Fatal(err)
	}
	closeNode(t, nodes[result.Node-1])
	rest := slices.Delete(slices.Clone(nodes), int(result.Node)-1, int(result.Node))
	person := login(t, rest[0], "user0", "Secret-of-a-user-1")
	status, _, body, err := person.get("/v1/exports/user0/" + id)
	if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(string(body), fmt.Sprintf("node %d", result.Node))) {
		t.Errorf("a file on a node that is down: %d %s", status, body[:min(len(body), 300)])
	}
	again := catalog.JobID(completed(t, rest[0], person, "EXPORT USER DATA"))
	for _, n := range rest {
		status, _, body, err := login(t, n, "user0", "Secret-of-a-user-1").get("/v1/exports/user0/" + again)
		if err != nil || status != http.StatusOK {
			t.Fatalf("an export while a node is down: %d %v %s", status, err, body[:min(len(body), 300)])
		}
		files, about := openZIP(t, body)
		checkExport(t, files, &about, person)
	}
}

// checkExport compares the files of an export with what its user selects.
func checkExport(t *testing.T, files map[string][]byte, about *export.About, person client) {
	t.Helper()
	if about.User != "user0" || len(about.Tables) != 3 {
		t.Errorf("export.json: %+v", about)
	}
	if !bytes.Contains(files["account.json"], []byte("user0")) || bytes.Contains(files["account.json"], []byte("$2a$")) {
		t.Errorf("account.json: %s", files["account.json"])
	}
	for name, content := range files {
		if bytes.Contains(content, []byte("of user1")) {
			t.Errorf("%s has rows of another user", name)
		}
	}
	for i := range about.Tables {
		table := &about.Tables[i]
		var rows []map[string]any
		if err := json.Unmarshal(files[table.JSON], &rows); err != nil {
			t.Fatalf("%s: %v", table.JSON, err)
		}
		var lines []string
		for _, row := range rows {
			var cells []string
			for _, c := range table.Columns {
				cells = append(cells, fmt.Sprint(row[c.Name]))
			}
			lines = append(lines, strings.Join(cells, "|"))
		}
		order := ""
		if table.Columns[0].Name == "id" {
			order = " ORDER BY id"
		}
		var names []string
		for _, c := range table.Columns {
			names = append(names, c.Name)
		}
		query := "SELECT " + strings.Join(names, ", ") + " FROM app." + table.Name + order + " LIMIT 1000"
		if want := person.grid(query); strings.Join(lines, "\n") != want || int64(len(rows)) != table.Rows {
			t.Errorf("%s has\n%s\nwant\n%s", table.JSON, strings.Join(lines, "\n"), want)
		}
		file, err := parquet.OpenFile(bytes.NewReader(files[table.Parquet]), int64(len(files[table.Parquet])))
		if err != nil {
			t.Fatalf("%s: %v", table.Parquet, err)
		}
		if file.NumRows() != table.Rows {
			t.Errorf("%s has %d rows, want %d", table.Parquet, file.NumRows(), table.Rows)
		}
		if _, ok := file.Schema().Lookup(table.Columns[len(table.Columns)-1].Name); !ok {
			t.Errorf("%s: %s", table.Parquet, file.Schema())
		}
	}
}

// shelfAt is the shelf of a node as it would be at another time.
func shelfAt(n *Node, wall clock.Clock) *export.Shelf {
	return export.NewShelf(export.ShelfConfig{
		FS: n.fs.FS, Dir: filepath.Join(n.cfg.Storage.DataPath, "exports"), Reader: n.store, Catalog: n.catalog, Executor: n.exec, Clock: wall,
		Node: func() ident.NodeID { return ident.NodeID(n.cfg.Cluster.NodeID) }, Keep: 24 * time.Hour, MaxBytes: 1 << 30,
	})
}

func exportFiles(t *testing.T, n *Node) (found []string) {
	t.Helper()
	root := filepath.Join(n.cfg.Storage.DataPath, "exports")
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(root, path)
			found = append(found, name)
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return found
}

// TestExportsAreRemoved looks at everything that ends the life of a file: a newer export, time, the end of the account; and at what runs
// without an end leave.
func TestExportsAreRemoved(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, withShards(1, 1))
	_, people := fillDatabase(t, n, 2)
	first := completed(t, n, people[0], "EXPORT USER DATA")
	other := completed(t, n, people[1], "EXPORT USER DATA")
	second := completed(t, n, people[0], "EXPORT USER DATA")
	now := clock.NewManual(time.Now())
	shelf := shelfAt(n, now)
	stale := filepath.Join(n.cfg.Storage.DataPath, "exports", "user0", catalog.JobID(second)+"-9999.zip")
	if err := os.WriteFile(stale, []byte("of a run that lost its claim"), 0o600); err != nil {
		t.Fatal(err)
	}
	torn := filepath.Join(n.cfg.Storage.DataPath, "exports", ".tmp", "torn")
	if err := os.WriteFile(torn, []byte("of a process that died"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(torn, time.Time{}, now.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	tend := func(want int, left ...string) {
		t.Helper()
		if removed, err := shelf.Tend(t.Context()); err != nil || removed != want {
			t.Errorf("%d files were removed, want %d: %v", removed, want, err)
		}
		if got := strings.Join(exportFiles(t, n), " "); got != strings.Join(left, " ") {
			t.Errorf("left: %s\nwant: %v", got, left)
		}
	}
	path := func(job *commandv1.Job) string {
		var result catalog.ExportResult
		if err := json.Unmarshal([]byte(job.GetResult()), &result); err != nil {
			t.Fatal(err)
		}
		return result.Path
	}
	download := func(c client, user string, job *commandv1.Job, want int) {
		t.Helper()
		if status, _, body, _ := c.get("/v1/exports/" + user + "/" + catalog.JobID(job)); status != want {
			t.Errorf("%s: %d, want %d: %s", catalog.JobID(job), status, want, body[:min(len(body), 200)])
		}
	}
	tend(2, path(second), path(other)) // the first one, and the one of the run that lost
	download(people[0], "user0", first, http.StatusNotFound)
	download(people[0], "user0", second, http.StatusOK)
	now.Advance(25 * time.Hour)
	if _, err := shelf.Find(t.Context(), "user0", catalog.JobID(second)); err == nil || !strings.Contains(err.Error(), "too old") {
		t.Errorf("after its time: %v", err)
	}
	now = clock.NewManual(time.Now())
	shelf = shelfAt(n, now)
	root.sql("DROP USER user0")
	root.sql("CREATE USER user0 WITH PASSWORD 'Secret-of-a-user-1' ROLE user")
	again := login(t, n, "user0", "Secret-of-a-user-1")
	download(again, "user0", second, http.StatusNotFound) // the new account is not the old one
	if got := again.grid("SHOW EXPORT"); got != "" {
		t.Errorf("the new account's exports: %q", got)
	}
	tend(1, path(other))
	now.Advance(25 * time.Hour)
	tend(1)
}

// TestExportThatIsDamagedIsNotGivenOut flips a bit: no client gets a whole file.
func TestExportThatIsDamagedIsNotGivenOut(t *testing.T) {
	t.Parallel()
	n, _ := oneNode(t, withShards(1, 1))
	_, people := fillDatabase(t, n, 1)
	job := completed(t, n, people[0], "EXPORT USER DATA")
	for _, name := range exportFiles(t, n) {
		path := filepath.Join(n.cfg.Storage.DataPath, "exports", name)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		content[len(content)/2] ^= 1
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if status, _, body, err := people[0].get("/v1/exports/user0/" + catalog.JobID(job)); status == http.StatusOK && err == nil {
		t.Errorf("%d bytes were given out", len(body))
	}
}
