package lint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Layer is one row of the layer table.
type Layer struct {
	Name     string
	Packages []string // directories relative to the root; "x/*" stands for x and everything below it
}

// Layers returns the layer table, lowest first. A package imports its own layer or a lower one.
// ARCHITECTURE.md shows the same table.
func Layers() []Layer {
	return []Layer{
		{"vocabulary", []string{
			"internal/ident", "internal/datum", "internal/shard", "internal/schema", "internal/session",
			"internal/config", "internal/clock", "internal/metrics", "internal/invariant", "internal/fault",
			"internal/certificate", "internal/recurrence",
		}},
		{"contract", []string{
			"proto/*", "internal/command", "internal/changefeed", "internal/sql/parse", "internal/sql/expr", "internal/sql/jsontext",
			"internal/sql/jsonpath", "internal/sql/timeform",
		}},
		{"storage", []string{"internal/storage/*"}},
		{"replication", []string{"internal/multiraft/*"}},
		{"state", []string{
			"internal/statemachine", "internal/applier", "internal/changelog", "internal/catalog", "internal/table", "internal/storages",
			"internal/cold",
		}},
		{"execution", []string{
			"internal/sql/plan", "internal/sql/exec", "internal/schemachange", "internal/executor", "internal/txn", "internal/flush",
		}},
		{"service", []string{"internal/admin", "internal/auth", "internal/backup", "internal/export", "internal/jobs", "internal/live"}},
		{"api", []string{"internal/api/*"}},
		{"assembly", []string{"internal/loopback", "internal/server", "internal/demo", "internal/bench", "internal/sim/*"}},
		{"program", []string{"cmd/*", "client", "examples/*"}},
		{"rules", []string{"internal/lint", "test/*"}},
	}
}

// Wall forbids an import whatever the layers say.
type Wall struct {
	Importers []string // directories that may not, as in Layer; empty means everybody but Except
	Except    []string
	Import    string // import path; "x/*" stands for x and everything below it
	Why       string
	Tests     bool // the wall holds for test files too
}

// Walls returns the walls between packages.
func Walls() []Wall {
	state := []string{
		"internal/statemachine", "internal/applier", "internal/changelog", "internal/catalog", "internal/table", "internal/cold",
	}
	walls := []Wall{
		{Except: []string{"internal/storage/*"}, Import: "github.com/cockroachdb/pebble/*", Why: "use internal/storage"},
		{Except: []string{"internal/multiraft/*"}, Import: "go.etcd.io/raft/*", Why: "use internal/multiraft"},
		{
			Except: []string{"internal/multiraft/*", "internal/server", "internal/bench"},
			Import: Module + "/internal/multiraft/*", Why: "replication meets the rest in internal/server",
		},
		{Import: "github.com/stretchr/testify/*", Why: "use testing and cmp.Diff", Tests: true},
		{Import: "C", Why: "the product is built without cgo", Tests: true},
		{
			Except: []string{"internal/lint"}, Import: Module + "/internal/lint/*",
			Why: "the rules are imported by nothing", Tests: true,
		},
	}
	for _, name := range state {
		walls = append(walls, Wall{
			Importers: []string{"internal/multiraft/*"}, Import: Module + "/" + name,
			Why: "replication and state do not import each other", Tests: true,
		})
	}
	return append(walls, Wall{
		Importers: state, Import: Module + "/internal/multiraft/*",
		Why: "replication and state do not import each other", Tests: true,
	})
}

// covers reports whether a pattern of Layer or Wall covers name.
func covers(pattern, name string) bool {
	if below, ok := strings.CutSuffix(pattern, "/*"); ok {
		return name == below || strings.HasPrefix(name, below+"/")
	}
	return pattern == name
}

func anyCovers(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, name) })
}

// layerOf returns the position of a package in the table, -1 when it has no line.
func layerOf(layers []Layer, dir string) int {
	return slices.IndexFunc(layers, func(l Layer) bool { return anyCovers(l.Packages, dir) })
}

// CheckLayers finds packages without a line in the table and imports that point upward.
func CheckLayers(tree *Tree, layers []Layer) []string {
	var findings []string
	missing := map[string]bool{}
	for _, file := range tree.Go {
		layer := layerOf(layers, file.Dir)
		if layer < 0 {
			if !missing[file.Dir] {
				missing[file.Dir] = true
				findings = append(findings, file.Dir+": package has no line in internal/lint/layers.go")
			}
			continue
		}
		if file.Test {
			continue // a test may build its subject's surroundings
		}
		for _, spec := range file.AST.Imports {
			dir, ok := strings.CutPrefix(importPath(spec.Path.Value), Module+"/")
			if !ok {
				continue
			}
			if imported := layerOf(layers, dir); imported > layer {
				findings = append(findings, fmt.Sprintf("%s: %s (%s) imports %s (%s): imports point down",
					tree.at(spec.Pos()), file.Dir, layers[layer].Name, dir, layers[imported].Name))
			}
		}
	}
	return findings
}

// CheckWalls finds imports that a wall forbids.
func CheckWalls(tree *Tree, walls []Wall) []string {
	var findings []string
	for _, file := range tree.Go {
		for _, spec := range file.AST.Imports {
			imported := importPath(spec.Path.Value)
			for _, wall := range walls {
				if file.Test && !wall.Tests || !covers(wall.Import, imported) {
					continue
				}
				if len(wall.Importers) > 0 && !anyCovers(wall.Importers, file.Dir) || anyCovers(wall.Except, file.Dir) {
					continue
				}
				findings = append(findings, fmt.Sprintf("%s: imports %s: %s", tree.at(spec.Pos()), imported, wall.Why))
			}
		}
	}
	return findings
}

// CheckLayerTable compares the table in ARCHITECTURE.md ("| layer | packages |", lowest first) with the code.
func CheckLayerTable(tree *Tree, layers []Layer) []string {
	const page = "ARCHITECTURE.md"
	var findings []string
	next := 0
	for number, line := range strings.Split(tree.text(page), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || next >= len(layers) || strings.TrimSpace(cells[1]) != layers[next].Name {
			continue
		}
		want := "`" + strings.Join(layers[next].Packages, "` `") + "`"
		if got := strings.TrimSpace(cells[2]); got != want {
			findings = append(findings, fmt.Sprintf("%s:%d: layer %s is %s, the code says %s",
				page, number+1, layers[next].Name, got, want))
		}
		next++
	}
	if next < len(layers) {
		findings = append(findings, fmt.Sprintf("%s: the layer table has no row for %s in its place", page, layers[next].Name))
	}
	return findings
}

func importPath(literal string) string {
	if unquoted, err := strconv.Unquote(literal); err == nil {
		return unquoted
	}
	return literal
}
