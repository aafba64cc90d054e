package linear

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// plantedBug is a change of the server's source that makes it wrong.
type plantedBug struct {
	name string
	// file is below the root of this repository, or below the module that is named.
	module, file string
	was, is      string
	workloads    []string // any of them, or a server that gives up, must show it
	faults       []string // the kinds that it needs; nil for all
}

func plantedBugs() []plantedBug {
	return []plantedBug{
		{
			name: "reads do not wait", file: "internal/executor/raft.go",
			was:       "	index, err := barrier(bound, ask, group)\n",
			is:        "	_ = ask\n	index, err := r.proposer.Applied(group), bound.Err()\n",
			workloads: []string{"register", "set", "monotonic", "list-append", "bank"},
		},
		{
			name: "the leader alone commits", module: "go.etcd.io/raft/v3", file: "quorum/majority.go",
			was:       "	pos := n - (n/2 + 1)\n",
			is:        "	pos := n - 1\n",
			workloads: []string{"register", "set", "monotonic", "list-append", "files", "live-stream"},
			faults:    []string{"isolation", "one-way isolation, deaf", "partition of all"}, // the longest log wins the other elections
		},
		{
			name: "requests are not remembered", file: "internal/statemachine/duplicates.go",
			was:       "	index, known := d.found[request]\n	if !known {\n",
			is:        "	index, known := d.found[request]\n	if known = false; !known {\n",
			workloads: []string{"monotonic", "register", "set"},
		},
		{
			name: "what a transaction read is not compared", file: "internal/applier/expectations.go",
			was: "	if refusal, err := d.checkReads(batch, body.GetReads(), word); refusal != nil || err != nil {\n		return refusal, err\n	}\n" +
				"	left := maxSpanRows\n	if refusal, err := d.checkSpans(batch, body.GetSpans(), &left); refusal != nil || err != nil {\n		return refusal, err\n	}\n" +
				"	return d.checkIndexSpans(batch, body.GetIndexSpans(), &left)\n",
			is:        "	return nil, nil\n",
			workloads: []string{"list-append"},
		},
		{
			name: "a live query that goes on leaves out what the next entries have changed", file: "internal/live/subscription.go",
			was:       "changelog.Read(snapshot, group, after, only,",
			is:        "changelog.Read(snapshot, group, after+1<<20, only,",
			workloads: []string{"live-stream"},
		},
	}
}

// TestPlantedBugsAreFound builds servers with a bug and wants the lab to see it. Without MUTANTS it takes the first one.
func TestPlantedBugsAreFound(t *testing.T) {
	bugs := plantedBugs()
	if os.Getenv("MUTANTS") == "" {
		bugs = bugs[:1]
	}
	for _, bug := range bugs {
		t.Run(bug.name, func(t *testing.T) {
			server, err := bug.build(t)
			if err != nil {
				t.Fatal(err)
			}
			const most = 3
			for run := range uint64(most) {
				v, _ := experiment(t, server, time.Duration(8+8*run)*time.Second, false, run+1, bug.faults...)
				if seen := bug.seen(v); seen != "" {
					t.Logf("found in run %d: %s", run+1, seen)
					return
				}
			}
			t.Errorf("not found in %d runs", most)
		})
	}
}

// TestBugsCanBePlanted looks whether the sources still have the lines that each bug changes, which the other test needs minutes for.
func TestBugsCanBePlanted(t *testing.T) {
	t.Parallel()
	for _, bug := range plantedBugs() {
		root := "../.."
		if bug.module != "" {
			out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", bug.module).Output()
			if err != nil {
				t.Fatalf("find %s: %v", bug.module, err)
			}
			root = strings.TrimSpace(string(out))
		}
		if err := bug.plant(filepath.Join(root, bug.file), filepath.Join(t.TempDir(), "changed.go")); err != nil {
			t.Error(err)
		}
	}
}

// seen returns what shows the bug.
func (b plantedBug) seen(v *verdict) string {
	for _, f := range v.Found {
		if f.Workload == "servers" {
			return f.Text
		}
		if slices.Contains(b.workloads, f.Workload) {
			return fmt.Sprintf("%s: %s: %s", f.Workload, f.Kind, f.Text)
		}
	}
	return ""
}

// build makes a server in which one file is another one.
func (b plantedBug) build(t *testing.T) (string, error) {
	t.Helper()
	dir := t.TempDir()
	if b.module != "" {
		return b.buildWithModule(t, dir)
	}
	path, err := filepath.Abs(filepath.Join("../..", b.file))
	if err != nil {
		return "", err
	}
	changed := filepath.Join(dir, "changed.go")
	if err = b.plant(path, changed); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return "", err
	}
	return buildServer(filepath.Join(dir, "kalamdb"), "-overlay", file)
}

// plant writes the changed source.
func (b plantedBug) plant(from, to string) error {
	source, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if strings.Count(string(source), b.was) != 1 {
		return fmt.Errorf("%s does not have this once, so the bug cannot be planted:\n%s", from, b.was)
	}
	return os.WriteFile(to, []byte(strings.Replace(string(source), b.was, b.is, 1)), 0o600)
}

// buildWithModule changes a copy of a module and builds with it.
func (b plantedBug) buildWithModule(t *testing.T, dir string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", b.module).Output()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", b.module, err)
	}
	copied := filepath.Join(dir, "module")
	original := strings.TrimSpace(string(out))
	if err := os.CopyFS(copied, os.DirFS(original)); err != nil {
		return "", err
	}
	changed := filepath.Join(copied, b.file)
	if err := os.Remove(changed); err != nil { // files of the module cache are read-only
		return "", err
	}
	if err := b.plant(filepath.Join(original, b.file), changed); err != nil {
		return "", err
	}
	for name, more := range map[string]string{"go.mod": fmt.Sprintf("\nreplace %s => %s\n", b.module, copied), "go.sum": ""} {
		text, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), append(text, more...), 0o600); err != nil {
			return "", err
		}
	}
	return buildServer(filepath.Join(dir, "kalamdb"), "-modfile", filepath.Join(dir, "go.mod"))
}
