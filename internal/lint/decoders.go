package lint

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
)

// decoderName is how functions are called that make something of bytes or text from elsewhere.
var decoderName = regexp.MustCompile(`^(?i:decode|parse|unmarshal)([A-Z]|$)`)

// CheckDecoders wants every decoder and parser to be reached by a fuzz target of its own package: by name,
// through whatever functions of the package lie between. What exempt names, as "directory:Function", needs none.
func CheckDecoders(tree *Tree, exempt map[string]string) []string {
	packages := map[string]*fuzzed{}
	for _, file := range tree.Go {
		if file.Generated || path.Base(file.Dir) == "lint" {
			continue
		}
		p := packages[file.Dir]
		if p == nil {
			p = &fuzzed{calls: map[string][]string{}}
			packages[file.Dir] = p
		}
		p.add(tree, &file)
	}
	var findings []string
	used := map[string]bool{}
	for dir, p := range packages {
		reached := p.reached()
		for _, d := range p.decoders {
			name := dir + ":" + d.name
			if _, ok := exempt[name]; ok {
				used[name] = true
				if reached[d.plain] {
					findings = append(findings, name+" is reached by a fuzz target: remove its exemption")
				}
				continue
			}
			if !reached[d.plain] {
				findings = append(findings, fmt.Sprintf("%s: no fuzz target of its package reaches %s", d.place, d.name))
			}
		}
	}
	for name := range exempt {
		if !used[name] {
			findings = append(findings, name+" is exempt from fuzzing and gone")
		}
	}
	slices.Sort(findings)
	return findings
}

// fuzzed is one package: its decoders, and which names each function mentions.
type fuzzed struct {
	decoders []decoder
	targets  []string
	calls    map[string][]string // from the plain name of a function or method
}

type decoder struct{ name, plain, place string }

func (p *fuzzed) add(tree *Tree, file *GoFile) {
	for _, decl := range file.AST.Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok || function.Body == nil {
			continue
		}
		plain := function.Name.Name
		ast.Inspect(function.Body, func(n ast.Node) bool {
			if name, ok := n.(*ast.Ident); ok {
				p.calls[plain] = append(p.calls[plain], name.Name)
			}
			return true
		})
		switch {
		case file.Test && strings.HasPrefix(plain, "Fuzz"):
			p.targets = append(p.targets, plain)
		case !file.Test && decodes(function):
			place := fmt.Sprintf("%s:%d", file.Path, tree.fset.Position(function.Pos()).Line)
			p.decoders = append(p.decoders, decoder{functionName(function), plain, place})
		}
	}
}

// reached returns the names that fuzz targets mention, and those that the functions behind these mention.
func (p *fuzzed) reached() map[string]bool {
	reached := map[string]bool{}
	next := slices.Clone(p.targets)
	for len(next) > 0 {
		name := next[len(next)-1]
		next = next[:len(next)-1]
		if reached[name] {
			continue
		}
		reached[name] = true
		next = append(next, p.calls[name]...)
	}
	return reached
}

// decodes says whether a function is named like a decoder, takes bytes or text first, and can fail.
func decodes(function *ast.FuncDecl) bool {
	params, results := function.Type.Params.List, function.Type.Results
	if !decoderName.MatchString(function.Name.Name) || len(params) == 0 || results == nil {
		return false
	}
	fails := slices.ContainsFunc(results.List, func(f *ast.Field) bool {
		name, ok := f.Type.(*ast.Ident)
		return ok && name.Name == "error"
	})
	switch first := params[0].Type.(type) {
	case *ast.Ident:
		return fails && first.Name == "string"
	case *ast.ArrayType:
		element, ok := first.Elt.(*ast.Ident)
		return fails && first.Len == nil && ok && element.Name == "byte"
	}
	return false
}

// NotFuzzed lists the decoders without a fuzz target, each with the reason.
func NotFuzzed() map[string]string {
	return map[string]string{
		"internal/config:Join.UnmarshalTOML":      "called by the TOML library, which FuzzParse runs",
		"internal/api/wsapi:cursor.UnmarshalJSON": "called by encoding/json, which FuzzClientFrame runs",
	}
}
