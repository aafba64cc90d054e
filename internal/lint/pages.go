package lint

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

var (
	codeSpan = regexp.MustCompile("`([^`]+)`")
	linkTo   = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	pathForm = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_./-]*$`)
	adrName  = regexp.MustCompile(`^docs/adr/(\d{4})-[a-z0-9-]+\.md$`)
	proof    = regexp.MustCompile("`([a-z0-9_/]+)\\.(Test[A-Za-z0-9_]+|Fuzz[A-Za-z0-9_]+)`")
)

// planPage names what is still to come; its paths need not exist.
const planPage = "docs/design/plan.md"

// CheckMarkdownPaths finds paths in Markdown that are not in the tree: targets of relative links, and code
// spans whose first part is a directory or file at the root. References to other projects, which STYLE.md
// introduces by *See* and puts in the last column of its table of tests, do not count; nor do fenced blocks.
func CheckMarkdownPaths(tree *Tree) []string {
	var findings []string
	for _, page := range tree.suffix(".md") {
		if page == planPage || strings.Contains(page, "testdata/") {
			continue
		}
		for number, line := range prose(tree.text(page)) {
			for _, match := range linkTo.FindAllStringSubmatch(line, -1) {
				target := match[1]
				if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
					continue
				}
				if !tree.exists(path.Join(path.Dir(page), target)) {
					findings = append(findings, fmt.Sprintf("%s:%d: link to %s, which does not exist", page, number+1, target))
				}
			}
			for _, match := range codeSpan.FindAllStringSubmatch(line, -1) {
				if name, ok := tree.namesPath(match[1]); ok && !tree.exists(name) {
					findings = append(findings, fmt.Sprintf("%s:%d: names %s, which does not exist", page, number+1, name))
				}
			}
		}
	}
	return findings
}

// prose returns the lines of a page with fenced blocks and references to other projects blanked.
func prose(text string) []string {
	lines := strings.Split(text, "\n")
	fenced, foreign, examples := false, false, false
	for i, line := range lines {
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			fenced = !fenced
			lines[i] = ""
			continue
		case strings.TrimSpace(line) == "":
			foreign, examples = false, false
		case strings.Contains(line, "public example |"):
			examples = true
		case strings.HasPrefix(strings.TrimSpace(line), "*See*"):
			foreign = true
		case foreign && regexp.MustCompile(`^\d+\. `).MatchString(line):
			foreign = false
		}
		switch {
		case fenced || foreign:
			lines[i] = ""
		case examples:
			cells := strings.Split(strings.TrimSuffix(strings.TrimSpace(line), "|"), "|")
			lines[i] = strings.Join(cells[:len(cells)-1], "|")
		}
	}
	return lines
}

// namesPath reports whether a code span is meant as a path of this tree.
func (t *Tree) namesPath(span string) (string, bool) {
	name := strings.TrimSuffix(strings.TrimPrefix(span, "./"), "/")
	if !pathForm.MatchString(name) || strings.Contains(name, "..") {
		return "", false
	}
	first, _, nested := strings.Cut(name, "/")
	if !nested {
		return name, slices.Contains([]string{".md", ".yml", ".yaml"}, path.Ext(name)) && path.Dir(name) == "."
	}
	// What is made here, and may be there in part, is not in the tree.
	if slices.Contains(skippedDirs, first) || !t.exists(first) || proof.MatchString("`"+name+"`") {
		return "", false
	}
	return name, true
}

// CheckDecisions wants unique numbers and the parts of a decision in every page of docs/adr.
func CheckDecisions(tree *Tree) []string {
	var findings []string
	taken := map[string]string{}
	for _, page := range tree.Paths {
		if path.Dir(page) != "docs/adr" {
			continue
		}
		match := adrName.FindStringSubmatch(page)
		if match == nil {
			findings = append(findings, page+": want docs/adr/NNNN-short-title.md")
			continue
		}
		if other, ok := taken[match[1]]; ok {
			findings = append(findings, fmt.Sprintf("%s: number %s is taken by %s", page, match[1], other))
		}
		taken[match[1]] = page
		text := tree.text(page)
		for _, part := range []string{"\nStatus: ", "\n## Problem\n", "\n## Options\n", "\n## Decision\n", "\n## Cost\n", "\n## Wrong if\n"} {
			if !strings.Contains(text, part) {
				findings = append(findings, fmt.Sprintf("%s: has no %q", page, strings.TrimSpace(part)))
			}
		}
	}
	return findings
}

// CheckChangelog wants the form of STYLE.md: Unreleased first, four headings, one line per change.
func CheckChangelog(tree *Tree) []string {
	const page = "CHANGELOG.md"
	headings := []string{"### Added", "### Changed", "### Fixed", "### Formats"}
	var findings []string
	releases := 0
	for number, line := range strings.Split(tree.text(page), "\n") {
		bad := ""
		switch {
		case strings.HasPrefix(line, "## "):
			if releases == 0 && line != "## Unreleased" {
				bad = "the first release must be Unreleased"
			}
			releases++
		case strings.HasPrefix(line, "#") && number > 0 && !slices.Contains(headings, line):
			bad = "the headings are Added, Changed, Fixed and Formats"
		case releases > 0 && line != "" && !strings.HasPrefix(line, "- ") && !strings.HasPrefix(line, "  ") &&
			!strings.HasPrefix(line, "#"):
			bad = "a change is a line that begins with a dash"
		}
		if bad != "" {
			findings = append(findings, fmt.Sprintf("%s:%d: %s", page, number+1, bad))
		}
	}
	if releases == 0 {
		findings = append(findings, page+": has no Unreleased section")
	}
	return findings
}

// proofPage is a page whose tables name the tests that show what each row says.
type proofPage struct {
	path  string
	leave bool // a row may say "open" in its last cell instead, for what no test shows yet
	story bool // it may have rows without tests and no rows at all; tests that it names exist, in rows and elsewhere
}

// proofPages lists the pages that CheckProofs reads.
func proofPages() []proofPage {
	return []proofPage{{path: "docs/design/promises.md"}, {path: "docs/design/known-faults.md", leave: true}, {path: "docs/design/testing.md", story: true}}
}

// CheckProofs wants every row of the proof pages to name tests that exist, as `dir.TestName`; on the page about testing it is
// enough that those that are named exist.
func CheckProofs(tree *Tree) []string {
	tests := map[string]bool{}
	for _, file := range tree.Go {
		if !file.Test {
			continue
		}
		for _, function := range functions(file.AST) {
			tests[file.Dir+"."+function] = true
		}
	}
	var findings []string
	for _, page := range proofPages() {
		findings = append(findings, checkProofPage(tree, page, tests)...)
	}
	return findings
}

func checkProofPage(tree *Tree, page proofPage, tests map[string]bool) []string {
	var findings []string
	rows := 0
	lines := strings.Split(tree.text(page.path), "\n")
	for number, line := range lines {
		heads := number+1 < len(lines) && strings.HasPrefix(lines[number+1], "|--")
		if !page.story && (!strings.HasPrefix(line, "| ") || heads) {
			continue
		}
		rows++
		named := proof.FindAllStringSubmatch(line, -1)
		cells := strings.Split(strings.TrimSuffix(line, "|"), "|")
		open := page.leave && strings.HasPrefix(strings.TrimSpace(cells[len(cells)-1]), "open")
		if len(named) == 0 && !open && !page.story {
			findings = append(findings, fmt.Sprintf("%s:%d: the row names no test", page.path, number+1))
		}
		for _, match := range named {
			if name := match[1] + "." + match[2]; !tests[name] {
				findings = append(findings, fmt.Sprintf("%s:%d: there is no test %s", page.path, number+1, name))
			}
		}
	}
	if rows == 0 && !page.story {
		findings = append(findings, page.path+": has no rows")
	}
	return findings
}
