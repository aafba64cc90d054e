package lint

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"
)

// Limits of length, in lines.
const (
	maxFileLines     = 800 // a file wants to be under 400 and must defend itself over 800
	maxFunctionLines = 70  // from the signature to the closing brace, without comments and blank lines
	minDocLines      = 5
	maxDocLines      = 30
)

// Ratchet lists what is longer than its limit, with the length at which it was accepted. Entries may
// shrink or go; none may grow or be added.
type Ratchet map[string]int

// LongFiles returns the files that are over the limit. Empty is the aim.
func LongFiles() Ratchet { return Ratchet{} }

// LongFunctions returns the functions that are over the limit, as "file:Function". Empty is the aim.
func LongFunctions() Ratchet { return Ratchet{} }

// judge compares measured lengths over the limit with the list.
func (r Ratchet) judge(measured map[string]int, limit int) []string {
	var findings []string
	for name, lines := range measured {
		accepted, listed := r[name]
		switch {
		case !listed:
			findings = append(findings, fmt.Sprintf("%s: %d lines, the limit is %d", name, lines, limit))
		case lines > accepted:
			findings = append(findings, fmt.Sprintf("%s: grew from %d to %d lines, the limit is %d", name, accepted, lines, limit))
		case lines < accepted:
			findings = append(findings, fmt.Sprintf("%s: shrank to %d lines: lower its entry in internal/lint/source.go", name, lines))
		}
	}
	for name := range r {
		if _, long := measured[name]; !long {
			findings = append(findings, name+": within the limit or gone: remove its entry in internal/lint/source.go")
		}
	}
	slices.Sort(findings)
	return findings
}

// CheckFileLengths finds Go files over the limit; generated ones do not count.
func CheckFileLengths(tree *Tree, accepted Ratchet) []string {
	measured := map[string]int{}
	for _, file := range tree.Go {
		if !file.Generated && file.Lines > maxFileLines {
			measured[file.Path] = file.Lines
		}
	}
	return accepted.judge(measured, maxFileLines)
}

// CheckFunctionLengths finds functions over the limit. Tests and generated files do not count.
func CheckFunctionLengths(tree *Tree, accepted Ratchet) []string {
	measured := map[string]int{}
	for _, file := range tree.Go {
		if file.Generated || file.Test {
			continue
		}
		source := strings.Split(tree.text(file.Path), "\n")
		for _, decl := range file.AST.Decls {
			function, ok := decl.(*ast.FuncDecl)
			if !ok || function.Body == nil {
				continue
			}
			first := tree.fset.Position(function.Pos()).Line
			last := tree.fset.Position(function.End()).Line
			if lines := codeLines(source[first-1 : min(last, len(source))]); lines > maxFunctionLines {
				measured[file.Path+":"+functionName(function)] = lines
			}
		}
	}
	return accepted.judge(measured, maxFunctionLines)
}

// codeLines counts the lines that hold more than a line comment.
func codeLines(lines []string) int {
	count := 0
	for _, line := range lines {
		if trimmed := strings.TrimSpace(line); trimmed != "" && !strings.HasPrefix(trimmed, "//") {
			count++
		}
	}
	return count
}

func functionName(function *ast.FuncDecl) string {
	if function.Recv == nil || len(function.Recv.List) == 0 {
		return function.Name.Name
	}
	receiver := function.Recv.List[0].Type
	for {
		switch typed := receiver.(type) {
		case *ast.StarExpr:
			receiver = typed.X
		case *ast.IndexExpr:
			receiver = typed.X
		case *ast.Ident:
			return typed.Name + "." + function.Name.Name
		default:
			return function.Name.Name
		}
	}
}

// CheckPackageDocs wants one package comment of five to thirty lines in every package. The program's
// main packages and packages of tests alone are held to it too; generated files are not.
func CheckPackageDocs(tree *Tree) []string {
	docs := map[string][]string{}
	var dirs, findings []string
	for _, file := range tree.Go {
		if file.Generated {
			continue
		}
		if !slices.Contains(dirs, file.Dir) {
			dirs = append(dirs, file.Dir)
		}
		if file.AST.Doc == nil || strings.HasSuffix(file.AST.Name.Name, "_test") {
			continue
		}
		docs[file.Dir] = append(docs[file.Dir], file.Path)
		lines := strings.Count(strings.TrimSpace(file.AST.Doc.Text()), "\n") + 1
		if lines < minDocLines || lines > maxDocLines {
			findings = append(findings, fmt.Sprintf("%s: the package comment has %d lines, want %d to %d",
				tree.at(file.AST.Doc.Pos()), lines, minDocLines, maxDocLines))
		}
	}
	for _, dir := range dirs {
		if got := docs[dir]; len(got) != 1 {
			findings = append(findings, fmt.Sprintf("%s: want the package comment in exactly one file, got %q", dir, got))
		}
	}
	return findings
}

var (
	taskMark  = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b(\(#\d+\))?`)
	taskNames = regexp.MustCompile(`(?i)\b(phase|milestone|sprint|stage|step|part|issue|ticket|task) #?[0-9]+\b`)
	dates     = regexp.MustCompile(`(?i)\b(20(2[5-9]|[3-9]\d)-[01]\d-[0-3]\d|(january|february|march|april|may|june|july|` +
		`august|september|october|november|december) 20\d\d)\b`)
)

// CheckComments finds marks without an issue number, names of tasks, and dates in comments.
func CheckComments(tree *Tree) []string {
	var findings []string
	for _, file := range tree.Go {
		if file.Generated {
			continue
		}
		for _, group := range file.AST.Comments {
			for _, comment := range group.List {
				for _, problem := range commentProblems(comment.Text) {
					findings = append(findings, fmt.Sprintf("%s: %s", tree.at(comment.Pos()), problem))
				}
			}
		}
	}
	return findings
}

func commentProblems(text string) []string {
	var problems []string
	for _, mark := range taskMark.FindAllStringSubmatch(text, -1) {
		if mark[1] != "TODO" || mark[2] == "" {
			problems = append(problems, fmt.Sprintf("%q: only TODO with an issue number", mark[0]))
		}
	}
	if name := taskNames.FindString(text); name != "" {
		problems = append(problems, fmt.Sprintf("%q: comments name no tasks or phases", name))
	}
	if date := dates.FindString(text); date != "" {
		problems = append(problems, fmt.Sprintf("%q: history is in the log, not in comments", date))
	}
	return problems
}
