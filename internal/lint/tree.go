package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"io/fs"
	"regexp"
	"strings"
)

// maxBinaryBytes is the largest file that is not text.
const maxBinaryBytes = 1 << 20

var (
	machinePath  = regexp.MustCompile(`(^|[\s"'` + "`" + `(=:])/(home|Users|root|work|mnt|workspace)/[A-Za-z0-9_.-]+`)
	registryHost = regexp.MustCompile(`https?://[a-z0-9.-]*(proxy|mirror|registry|artifactory|nexus|goproxy)[a-z0-9.-]*`)
)

// CheckTree finds large binaries, paths of one machine and addresses of package registries.
func CheckTree(tree *Tree) []string {
	var findings []string
	for _, name := range tree.Paths {
		if strings.HasPrefix(name, "internal/lint/") || strings.HasSuffix(name, "go.sum") {
			continue
		}
		data, err := fs.ReadFile(tree.fsys, name)
		if err != nil {
			continue // the file went away between listing and reading
		}
		if bytes.IndexByte(data, 0) >= 0 {
			if len(data) > maxBinaryBytes {
				findings = append(findings, fmt.Sprintf("%s: a binary of %d bytes, the limit is %d", name, len(data), maxBinaryBytes))
			}
			continue
		}
		for number, line := range strings.Split(string(data), "\n") {
			if match := machinePath.FindString(line); match != "" {
				findings = append(findings, fmt.Sprintf("%s:%d: %s is a path of one machine", name, number+1, strings.TrimSpace(match)))
			}
			if match := registryHost.FindString(line); match != "" {
				findings = append(findings, fmt.Sprintf("%s:%d: %s is a package registry", name, number+1, match))
			}
		}
	}
	return findings
}

// functions returns the names of a file's functions, methods left out.
func functions(file *ast.File) []string {
	var names []string
	for _, decl := range file.Decls {
		if function, ok := decl.(*ast.FuncDecl); ok && function.Recv == nil {
			names = append(names, function.Name.Name)
		}
	}
	return names
}
