package sim

import (
	"flag"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/sim/planted"
)

var rewriteTags = flag.Bool("rewrite", false, "write the files of build tags anew")

const (
	tagDir = "planted"
	noTag  = "none.go" // what a build without a planted bug takes
)

// plantedByTag is the bug that this build was told to have, nil for none.
func plantedByTag() *mutant { return mutantWithTag(planted.Tag) }

func mutantWithTag(tag string) *mutant {
	for _, m := range mutants() {
		if m.tag == tag {
			return &m
		}
	}
	return nil
}

// tagFiles are the files of the package planted that know tags, by name.
func tagFiles() map[string]string {
	files := make(map[string]string)
	var tags []string
	for _, m := range mutants() {
		tags = append(tags, planted.Prefix+m.tag)
		files[m.tag+".go"] = fmt.Sprintf("//go:build %s%s\n\npackage planted\n\n// Tag names the planted bug: %s.\nconst Tag = %q\n",
			planted.Prefix, m.tag, m.name, m.tag)
	}
	slices.Sort(tags)
	files[noTag] = fmt.Sprintf("//go:build !(%s)\n\npackage planted\n\n// Tag names no planted bug.\nconst Tag = \"\"\n", strings.Join(tags, " || "))
	return files
}

// TestEveryMutantHasItsTag wants one build tag for each planted bug, and no other: with the tag alone, Go chooses its file and no second one
// that names a bug.
func TestEveryMutantHasItsTag(t *testing.T) {
	want := tagFiles()
	if *rewriteTags {
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(tagDir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	there, err := os.ReadDir(tagDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range there {
		if _, known := want[entry.Name()]; !known && entry.Name() != "planted.go" {
			t.Errorf("%s/%s belongs to no planted bug", tagDir, entry.Name())
		}
	}
	seen := make(map[string]bool)
	for _, m := range mutants() {
		if m.tag == "" || seen[m.tag] {
			t.Errorf("%s: the tag %q is empty, or another bug has it", m.name, m.tag)
		}
		seen[m.tag] = true
		if got := tagOfBuild(t, planted.Prefix+m.tag); got != m.tag || mutantWithTag(got).name != m.name {
			t.Errorf("a build with the tag %s%s plants %q", planted.Prefix, m.tag, got)
		}
	}
	if got := tagOfBuild(t, "invariants"); got != "" || mutantWithTag(got) != nil {
		t.Errorf("a build without a tag plants %q", got)
	}
}

// tagOfBuild is the constant Tag of the files that Go chooses for a build with one tag.
func tagOfBuild(t *testing.T, tag string) string {
	t.Helper()
	with := build.Default
	with.BuildTags = []string{tag}
	chosen, err := with.ImportDir(tagDir, 0)
	if err != nil {
		t.Fatalf("with the tag %s: %v", tag, err)
	}
	var found []string
	for _, name := range chosen.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(tagDir, name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if object := file.Scope.Lookup("Tag"); object != nil {
			value, isLiteral := object.Decl.(*ast.ValueSpec).Values[0].(*ast.BasicLit)
			if !isLiteral {
				t.Fatalf("%s: Tag is no literal", name)
			}
			text, err := strconv.Unquote(value.Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, text)
		}
	}
	if len(found) != 1 {
		t.Fatalf("with the tag %s the constant Tag is declared %d times: %q", tag, len(found), found)
	}
	return found[0]
}
