package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
)

// standardLibrary is what govulncheck calls the module of the compiler's own packages.
const standardLibrary = "stdlib"

// message is one of the JSON documents that govulncheck writes one behind the other; of the fields, those
// that are read here.
type message struct {
	OSV *struct {
		ID      string `json:"id"`
		Summary string `json:"summary"`
	} `json:"osv"`
	Finding *finding `json:"finding"`
}

type finding struct {
	OSV          string  `json:"osv"`
	FixedVersion string  `json:"fixed_version"`
	Trace        []frame `json:"trace"`
}

type frame struct {
	Module   string `json:"module"`
	Version  string `json:"version"`
	Package  string `json:"package"`
	Function string `json:"function"`
}

// called says whether the vulnerable function itself is reached, and not only its package or module needed.
func (f *finding) called() bool { return len(f.Trace) > 0 && f.Trace[0].Function != "" }

// judge prints what is called of vulnerable code, one line for each report, and returns an error when that
// must be mended here.
func judge(out io.Reader, strict bool) error {
	summaries, called := map[string]string{}, map[string]*finding{}
	for decoder := json.NewDecoder(out); ; {
		var m message
		err := decoder.Decode(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the findings of govulncheck: %w", err)
		}
		if m.OSV != nil {
			summaries[m.OSV.ID] = m.OSV.Summary
		}
		if m.Finding != nil && m.Finding.called() && called[m.Finding.OSV] == nil {
			called[m.Finding.OSV] = m.Finding
		}
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	own, library := 0, 0
	ids := slices.SortedFunc(maps.Keys(called), func(a, b string) int {
		return cmp.Or(cmp.Compare(called[a].Trace[0].Module, called[b].Trace[0].Module), cmp.Compare(a, b))
	})
	for _, id := range ids {
		at := called[id].Trace[0]
		fixed := cmp.Or(called[id].FixedVersion, "not mended yet")
		_, _ = fmt.Fprintf(table, "%s\t%s@%s\tmended in %s\t%s: %s\n", id, at.Module, at.Version, fixed, at.Package, summaries[id])
		if at.Module == standardLibrary {
			library++
		} else {
			own++
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	switch {
	case own > 0:
		return fmt.Errorf("%d reports on code of modules that is called: take newer versions of them", own)
	case library > 0 && strict:
		return fmt.Errorf("%d reports on the standard library: build with a newer Go", library)
	case library > 0:
		fmt.Printf("%d reports on the standard library: releases want a newer Go\n", library)
	default:
		fmt.Println("nothing that is known to be vulnerable is called")
	}
	return nil
}
