package lint

import (
	"fmt"
	"slices"
	"strings"
)

// CheckDependencies compares the modules that Go files import with the tables of the dependencies page: the
// first for the product, the second for what only tests import.
func CheckDependencies(tree *Tree) []string {
	const page = "docs/design/dependencies.md"
	var findings []string
	listed := map[string]bool{} // module path to whether it is for tests only
	tests := false
	for line := range strings.SplitSeq(tree.text(page), "\n") {
		tests = tests || strings.HasPrefix(line, "Only tests import")
		if row, ok := strings.CutPrefix(line, "| `"); ok {
			module, _, _ := strings.Cut(row, "`")
			listed[module] = tests
		}
	}
	used := map[string]bool{}
	for _, file := range tree.Go {
		for _, spec := range file.AST.Imports {
			imported := importPath(spec.Path.Value)
			if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") || covers(Module+"/*", imported) {
				continue
			}
			module := moduleOf(listed, imported)
			switch {
			case module == "":
				findings = append(findings, fmt.Sprintf("%s: imports %s, which %s does not list", tree.at(spec.Pos()), imported, page))
			case listed[module] && !file.Test && !helpsTests(file.Dir):
				findings = append(findings, fmt.Sprintf("%s: imports %s, which %s lists for tests", tree.at(spec.Pos()), imported, page))
			}
			used[module] = true
		}
	}
	for module := range listed {
		if !used[module] {
			findings = append(findings, fmt.Sprintf("%s: lists %s, which nothing imports", page, module))
		}
	}
	slices.Sort(findings)
	return findings
}

// moduleOf returns the listed module that holds a package, "" when there is none.
func moduleOf(listed map[string]bool, imported string) string {
	for module := range listed {
		if covers(module+"/*", imported) {
			return module
		}
	}
	return ""
}

// helpsTests reports whether a directory holds helpers that only tests import.
func helpsTests(dir string) bool {
	return strings.HasPrefix(dir, "test/") || strings.HasSuffix(dir, "test")
}
