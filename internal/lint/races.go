package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// makefile says what runs under the race detector before every change.
const makefile = "Makefile"

// raceRuns are what the Makefile must run there: every package with tests but some, and a part of those.
var raceRuns = []string{
	"RACE       = $(filter-out $(RACE_PART),",
	"\t$(RACE_RUN) -skip $(call names,$(RACE_SKIP)) $(RACE)\n",
	"\t$(RACE_RUN) -run $(call names,$(RACE_TESTS)) $(RACE_PART)\n",
}

// CheckRaces wants no package with tests to be left out of what runs under the race detector: those that RACE_PART takes out of the rest
// have tests in RACE_TESTS. Tests that are named exist where they are looked for, since a name that fits none is silent.
func CheckRaces(tree *Tree) []string {
	text := tree.text(makefile)
	var findings []string
	for _, line := range raceRuns {
		if !strings.Contains(text, line) {
			findings = append(findings, fmt.Sprintf("%s: lacks %q", makefile, strings.TrimSpace(line)))
		}
	}
	parts := listIn(text, "RACE_PART")
	in, outside := map[string][]string{}, map[string]bool{} // tests of the parts by directory, and of all other packages
	for _, file := range tree.Go {
		if !file.Test {
			continue
		}
		part := slices.Contains(parts, "./"+file.Dir)
		for _, function := range functions(file.AST) {
			if part {
				in[file.Dir] = append(in[file.Dir], function)
			} else {
				outside[function] = true
			}
		}
	}
	runs := map[string]bool{} // packages of which something runs
	for _, name := range listIn(text, "RACE_TESTS") {
		found := false
		for dir, tests := range in {
			if slices.Contains(tests, name) {
				runs["./"+dir], found = true, true
			}
		}
		if !found {
			findings = append(findings, fmt.Sprintf("%s: RACE_TESTS names %s, which no package of RACE_PART has", makefile, name))
		}
	}
	for _, part := range parts {
		if !runs[part] {
			findings = append(findings, fmt.Sprintf("%s: RACE_TESTS has no test of %s", makefile, part))
		}
	}
	for _, name := range listIn(text, "RACE_SKIP") {
		if !outside[name] {
			findings = append(findings, fmt.Sprintf("%s: RACE_SKIP names %s, which no package has", makefile, name))
		}
	}
	return findings
}

// listIn returns the words of a list in a Makefile.
func listIn(text, name string) []string {
	found := regexp.MustCompile(`(?m)^` + name + ` += ((?:.*\\\n)*.*)$`).FindStringSubmatch(text)
	if found == nil {
		return nil
	}
	return strings.Fields(strings.ReplaceAll(found[1], "\\\n", " "))
}
