package expr

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// The values of the tests below: what a function does between two looks is the same for each of their pieces, however many there are.
const (
	longBytes = 8 * pieceBytes
	// leastLooks is how often a function looks that works on each of longBytes for about as long as it takes to read it.
	leastLooks = longBytes / (4 * pieceBytes)
)

// longCalls are calls that work on all of a long value: t and u are texts of which u has one character, l is a JSON array of texts, n one of
// numbers, o an object, s a JSON string with escapes, b bytes, h their hexadecimal and m their base64 form.
func longCalls() map[string][]string {
	return map[string][]string{
		"lower": {"lower(t)"}, "upper": {"upper(t)"}, "initcap": {"initcap(t)"}, "reverse": {"reverse(t)"},
		"length": {"length(t)"}, "char_length": {"char_length(t)"}, "character_length": {"character_length(t)"},
		"trim": {"trim(u, 'a')"}, "btrim": {"btrim(u, 'a')"}, "ltrim": {"ltrim(u, 'a')", "ltrim(u, repeat('é', 1000) || 'a')"},
		"rtrim":   {"rtrim(u, 'a')", "rtrim(u, repeat('é', 1000) || 'a')"},
		"replace": {"replace(t, 'A', '')", "replace(t, 'zz', '')"}, "translate": {"translate(t, 'A', 'b')"},
		"strpos": {"strpos(t, 'zz')", "strpos(u || 'z', 'z')"}, "instr": {"instr(t, 'zz')"}, "position": {"position('zz' IN t)"},
		"contains": {"contains(t, 'zz')"}, "substring": {"substring(t, 1000000, 3)"}, "substr": {"substr(t, 1000000, 3)"},
		"left": {"left(t, -5)"}, "right": {"right(t, 5)"}, "lpad": {"lpad(t, 10, 'x')"}, "rpad": {"rpad(t, 10, 'x')"},
		"split_part": {"split_part(t, ',', 300000)", "split_part(t, ',', -3)", "split_part(t, 'zz', 2)"},
		"overlay":    {"overlay(t, 'x', 1000000)"}, "md5": {"md5(t)"},
		"encode": {"encode(b, 'hex')", "encode(b, 'base64')"}, "decode": {"decode(h, 'hex')", "decode(m, 'base64')"},
		"json_get": {"json_get(l, 5)", "json_get(o, 'k', 'a')"}, "json_get_json": {"json_get_json(n, 5)"},
		"json_extract_path": {"json_extract_path(o, 'k')"}, "jsonb_extract_path": {"jsonb_extract_path(o, 'k')"},
		"json_as_text": {"json_as_text(o, 'k')", "json_as_text(s)"}, "json_get_text": {"json_get_text(o, 'k')"},
		"json_extract_path_text": {"json_extract_path_text(o, 'k')"}, "jsonb_extract_path_text": {"jsonb_extract_path_text(o, 'k')"},
		"json_get_str": {"json_get_str(s)"}, "json_get_int": {"json_get_int(n, 5)"}, "json_get_float": {"json_get_float(n, -1)"},
		"json_get_bool": {"json_get_bool(n, 5)"}, "json_get_array": {"json_get_array(o, 'k', 'a')"}, "json_contains": {"json_contains(l, 9)"},
		"json_get_path": {"json_get_path(o, ARRAY['k', 'a'])"}, "json_as_text_path": {"json_as_text_path(o, ARRAY['k'])"},
		"jsonb_contains": {"jsonb_contains(l, '[1]')", "jsonb_contains(o, '{\"x\":1}')"}, "jsonb_exists": {"jsonb_exists(o, 'x')", "jsonb_exists(l, 'zz')"},
		"jsonb_exists_any": {"jsonb_exists_any(l, ARRAY['zz'])"}, "jsonb_exists_all": {"jsonb_exists_all(l, ARRAY['zz'])"},
		"jsonb_concat": {"jsonb_concat(l, n)", "jsonb_concat(o, o)"}, "jsonb_delete": {"jsonb_delete(l, 'zz')", "jsonb_delete(n, 1)"},
		"jsonb_delete_path": {"jsonb_delete_path(o, ARRAY['k', 'a', '0'])"},
		"json_length":       {"json_length(l)"}, "json_array_length": {"json_array_length(l)"}, "jsonb_array_length": {"jsonb_array_length(l)"},
		"json_object_keys": {"json_object_keys(o)"}, "json_typeof": {"json_typeof(n)"}, "jsonb_typeof": {"jsonb_typeof(n)"},
		"json_build_object": {"json_build_object('k', t)"}, "jsonb_build_object": {"jsonb_build_object('k', t)"},
		"json_build_array": {"json_build_array(t, 1)"}, "jsonb_build_array": {"jsonb_build_array(t)"}, "to_json": {"to_json(t)"}, "to_jsonb": {"to_jsonb(t)"},
		"regexp_replace": {"regexp_replace(t, 'A', 'y', 'g')", "regexp_replace(t, 'zz', 'y')"}, "regexp_count": {"regexp_count(t, 'A.b')"},
		"regexp_like": {"regexp_like(t, 'A.z')"}, "regexp_match": {"regexp_match(t, '(A)z')"}, "regexp_substr": {"regexp_substr(t, 'A.z')"},
		"regexp_instr": {"regexp_instr(t, 'A.z')"}, "regexp_split_to_array": {"regexp_split_to_array(t, 'A.z')"},
		"normalize": {"normalize(t, NFD)", "normalize(u || 'é', 'NFKC')"}, "is_normalized": {"is_normalized(t, 'NFC')"},
		"substring by pattern": {"substring(t from 'A.z')", "substring(t similar '%#\"A#\"z' escape '#')"},
		"cast":                 {"CAST(l AS TEXT)::json IS NULL", "concat(n, '')::json IS NULL"}, "like": {"t LIKE '%A_z%'", "t ILIKE '%zz%'"},
	}
}

// isShort knows the functions that do no more with a long value than copy, compare or hash it, or refuse it; MaxValueBytes bounds that.
func isShort(name string) bool {
	copies := []string{
		"octet_length", "bit_length", "repeat", "starts_with", "ends_with", "concat", "concat_ws", "ascii", "chr", // memory is copied, if that
		"string_to_array", "array_to_string", // up to maxArrayElements pieces
	}
	return slices.Contains(copies, name)
}

// functionNames reads the names of the text, JSON and pattern functions from the switches that know them.
func functionNames(t *testing.T) (names []string) {
	t.Helper()
	for _, file := range []string{"functions_text.go", "functions_json.go", "json_operators.go", "functions_regexp.go", "functions_normal.go"} {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !strings.HasSuffix(f.Name.Name, "Function") {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				clause, ok := n.(*ast.CaseClause)
				if !ok {
					return true
				}
				for _, value := range clause.List {
					if literal, ok := value.(*ast.BasicLit); ok && literal.Kind == token.STRING {
						name, _ := strconv.Unquote(literal.Value)
						names = append(names, name)
					}
				}
				return true
			})
		}
	}
	return names
}

// TestNoFunctionHoldsUpItsStatement evaluates every function of texts, JSON and patterns on long values and counts how often it looks
// at its statement, which must not depend on how quick the machine is; and ends it at the first look.
func TestNoFunctionHoldsUpItsStatement(t *testing.T) {
	t.Parallel()
	calls := longCalls()
	names := functionNames(t)
	if len(names) < 60 {
		t.Fatalf("there are only %d functions: %v", len(names), names)
	}
	for _, name := range names {
		if (len(calls[name]) == 0) != isShort(name) {
			t.Errorf("function %s stands in none of the lists, or in both", name)
		}
	}
	fill := func(piece string) string { return strings.Repeat(piece, longBytes/len(piece)) }
	values := map[string]string{
		"t": fill("Añb, "), "u": fill("a"), "l": "[" + fill(`"añ",`) + `1]`, "n": "[" + fill("1.5 , ") + "1]",
		"o": `{"k":{"a":[` + fill(`1.5 ,`) + `1]}}`, "s": `"` + fill(`añ\n`) + `"`, "b": fill("Añb, "), "h": fill("4f"), "m": fill("QUJD"),
	}
	var columns []Column
	var row []datum.Datum
	for name, value := range values {
		kind := datum.Text
		switch name {
		case "l", "n", "o", "s":
			kind = datum.JSON
		case "b":
			kind = datum.Bytes
		}
		columns = append(columns, Column{Name: name, Type: datum.Of(kind), Position: len(row)})
		row = append(row, datum.NewString(kind, value))
	}
	ended := errors.New("ended")
	for _, sources := range calls {
		for _, source := range sources {
			bound, err := Bind(parseExpr(t, source), NewScope(columns...), Options{})
			if err != nil {
				t.Errorf("%s: %v", source, err)
				continue
			}
			looks := 0
			_, err = bound.Eval(NewEvalContext(&Env{Stopped: func() error { looks++; return nil }}), row)
			if err != nil || looks < leastLooks {
				t.Errorf("%s looks %d times at its statement, want %d at least (%v)", source, looks, leastLooks, err)
			}
			_, err = bound.Eval(NewEvalContext(&Env{Stopped: func() error { return ended }}), row)
			if !errors.Is(err, ended) {
				t.Errorf("%s of a statement that has ended: %v", source, err)
			}
		}
	}
}
