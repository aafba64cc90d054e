package lint

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
	"strconv"
)

// leakDetector is the package that tests ask whether a goroutine was left behind.
const leakDetector = "go.uber.org/goleak"

// CheckGoroutines wants the tests of every package that starts goroutines to ask whether any is left: whoever starts one
// stops it and waits for it. What exempt names needs none.
func CheckGoroutines(tree *Tree, exempt map[string]string) []string {
	starts, asks := map[string]string{}, map[string]bool{}
	for _, file := range tree.Go {
		switch {
		case file.Generated || path.Base(file.Dir) == "lint":
		case file.Test:
			asks[file.Dir] = asks[file.Dir] || imports(file.AST, leakDetector)
		case starts[file.Dir] == "":
			if start := firstStart(file.AST); start != nil {
				starts[file.Dir] = tree.at(start.Pos())
			}
		}
	}
	var findings []string
	for dir, place := range starts {
		_, excused := exempt[dir]
		switch {
		case !excused && !asks[dir]:
			findings = append(findings, fmt.Sprintf("%s: a goroutine is started, and no test of %s asks %s whether one is left", place, dir, leakDetector))
		case excused && asks[dir]:
			findings = append(findings, dir+" asks for goroutines that are left: remove its exemption")
		}
	}
	for dir := range maps.Keys(exempt) {
		if starts[dir] == "" {
			findings = append(findings, dir+" is exempt from asking for goroutines and starts none")
		}
	}
	slices.Sort(findings)
	return findings
}

// firstStart is the first statement of a file that starts a goroutine: go, or a call of a Go method with one function.
func firstStart(file *ast.File) (start ast.Node) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			start = n
		case *ast.CallExpr:
			if called, ok := n.Fun.(*ast.SelectorExpr); ok && called.Sel.Name == "Go" && len(n.Args) == 1 {
				start = n
			}
		}
		return start == nil
	})
	return start
}

func imports(file *ast.File, wanted string) bool {
	return slices.ContainsFunc(file.Imports, func(spec *ast.ImportSpec) bool {
		name, err := strconv.Unquote(spec.Path.Value)
		return err == nil && name == wanted
	})
}

// NotAskedForLeaks lists the packages that start goroutines and whose tests do not ask for what is left, with the reason.
func NotAskedForLeaks() map[string]string {
	const program, byServer = "a program: its goroutines end with the process", "runs in the tests of internal/server, which ask"
	return map[string]string{
		"cmd/kalam": program, "cmd/kalamdb": program, "examples/chat": program, "examples/presence": program, "test/compare": program,
		"internal/admin": byServer, "internal/backup": byServer, "internal/export": byServer,
		"internal/demo": "runs as a process, in test/e2e",
		"internal/multiraft/transport/transporttest": "runs in the tests of internal/multiraft/transport, which ask",
		"internal/storage/objstore/objstoretest":     "runs in the tests of internal/storage/objstore, which ask",
	}
}
