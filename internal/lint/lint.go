// Package lint holds the repository's own rules, as tests: those that no linter has.
//
// Layers and walls between packages, one package comment each, lengths that may only shrink, paths named
// in Markdown, the form of decisions, changelog and promises, and what must not stand in the tree. The
// checks read and parse files themselves. A test that shells out to the go command can be answered from
// the test cache after a bad change, because the cache does not see what a child process read.
//
// Each check takes a Tree and returns findings as "file:line: what is wrong"; the tests run it over a
// small made-up tree that breaks the rule and over this repository, which must not. Nothing imports
// this package. A new package starts with a line in layers.go.
package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Module is the import path of the repository.
const Module = "github.com/kalamdb/kalamdb-go"

// Tree is the files of a repository, read once.
type Tree struct {
	fsys  fs.FS
	Paths []string // all files, sorted, slash-separated, relative to the root
	Go    []GoFile // the parsed Go files of the main module, generated ones included
	fset  *token.FileSet
}

// GoFile is one parsed Go file.
type GoFile struct {
	Path      string
	Dir       string
	Test      bool // its name ends in _test.go
	Generated bool
	Lines     int
	AST       *ast.File
}

// skippedDirs are directories at the root that hold no sources.
var skippedDirs = []string{".git", "bin", "data"}

// skippedSuffixes are what builds and tests leave behind; they are ignored by git as well.
var skippedSuffixes = []string{".test", ".out", ".prof"}

// Load reads a tree. Files that cannot be parsed are an error.
func Load(fsys fs.FS) (*Tree, error) {
	tree := &Tree{fsys: fsys, fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (slices.Contains(skippedDirs, name) || strings.HasSuffix(name, "-cache")):
			return fs.SkipDir
		case name == ".git": // a linked work tree has a file of this name
			return nil
		case entry.IsDir() || slices.Contains(skippedSuffixes, path.Ext(name)):
			return nil
		}
		tree.Paths = append(tree.Paths, name)
		return tree.parse(name)
	})
	if err != nil {
		return nil, fmt.Errorf("load tree: %w", err)
	}
	return tree, nil
}

func (t *Tree) parse(name string) error {
	if path.Ext(name) != ".go" || strings.Contains(name, "testdata/") || strings.HasPrefix(name, "tools/") {
		return nil
	}
	source, err := fs.ReadFile(t.fsys, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	file, err := parser.ParseFile(t.fset, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parse %s: %w", name, err)
	}
	t.Go = append(t.Go, GoFile{
		Path:      name,
		Dir:       path.Dir(name),
		Test:      strings.HasSuffix(name, "_test.go"),
		Generated: ast.IsGenerated(file),
		Lines:     strings.Count(string(source), "\n"),
		AST:       file,
	})
	return nil
}

// text returns the content of a file that Load has listed.
func (t *Tree) text(name string) string {
	data, err := fs.ReadFile(t.fsys, name)
	if err != nil {
		return "" // the file went away between listing and reading; the next run sees that
	}
	return string(data)
}

// exists reports whether a file or directory of that name is in the tree.
func (t *Tree) exists(name string) bool {
	_, err := fs.Stat(t.fsys, name)
	return err == nil
}

// at prints a position as findings begin.
func (t *Tree) at(pos token.Pos) string {
	p := t.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// suffix returns the files whose names end in suffix.
func (t *Tree) suffix(suffix string) []string {
	var names []string
	for _, name := range t.Paths {
		if strings.HasSuffix(name, suffix) {
			names = append(names, name)
		}
	}
	return names
}
