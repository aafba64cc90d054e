package jsontext

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestJSONWalkEqualsTheLibrary draws documents and compares their parts with what encoding/json finds.
func TestJSONWalkEqualsTheLibrary(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 3))
	space := func() string { return []string{"", "", " ", "\n\t", "\r "}[random.IntN(5)] }
	text := func() string {
		return []string{`""`, `"a"`, `"k"`, `"\""`, `"\\"`, `"}]"`, `",:"`, `"\u00e9\n"`, `"é"`, `"k\u006b"`}[random.IntN(10)]
	}
	var document func(depth int) string
	document = func(depth int) string {
		kind := random.IntN(6)
		if depth == 0 {
			kind = random.IntN(4)
		}
		switch kind {
		case 0:
			return text()
		case 1:
			return []string{"0", "-1.5e+10", "12", "3E-2"}[random.IntN(4)]
		case 2:
			return []string{"true", "false", "null"}[random.IntN(3)]
		case 3:
			return []string{"{}", "[]", "{ }", "[ ]"}[random.IntN(4)]
		}
		var parts []string
		for range random.IntN(4) {
			part := space() + document(depth-1) + space()
			if kind == 4 {
				part = space() + text() + space() + ":" + part
			}
			parts = append(parts, part)
		}
		if kind == 4 {
			return "{" + strings.Join(parts, ",") + "}"
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	for range 5000 {
		source := document(4)
		if !json.Valid([]byte(source)) {
			if len(source) > 2 {
				t.Fatalf("seed %d: %s is no JSON", seed, source)
			}
			continue
		}
		var list []string
		members := map[string]string{}
		w := New(nil)
		walked := w.EachPart([]byte(source), func(key, value []byte) bool {
			if key == nil {
				list = append(list, string(value))
			} else {
				members[w.Text(key)] = string(value)
				if !w.IsKey(key, w.Text(key)) || w.IsKey(key, w.Text(key)+"x") {
					t.Errorf("seed %d: the key %s of %s", seed, key, source)
				}
			}
			return true
		})
		switch source[0] {
		case '[':
			var want []json.RawMessage
			if err := json.Unmarshal([]byte(source), &want); err != nil || !walked || len(want) != len(list) {
				t.Fatalf("seed %d: %s: %q, want %q %v", seed, source, list, want, err)
			}
			for i := range want {
				if string(want[i]) != list[i] {
					t.Fatalf("seed %d: %s: element %d is %q, want %q", seed, source, i, list[i], want[i])
				}
			}
		case '{':
			var raw map[string]json.RawMessage
			if err := json.Unmarshal([]byte(source), &raw); err != nil || !walked {
				t.Fatalf("seed %d: %s: %v", seed, source, err)
			}
			want := map[string]string{}
			for key, value := range raw {
				want[key] = string(value)
			}
			if diff := cmp.Diff(want, members); diff != "" {
				t.Fatalf("seed %d: %s:\n%s", seed, source, diff)
			}
		default:
			if walked {
				t.Fatalf("seed %d: %s has parts", seed, source)
			}
		}
	}
}

// FuzzJSONEqualsTheLibrary holds what is valid, compacted and unescaped here against encoding/json. Texts hold UTF-8 only.
func FuzzJSONEqualsTheLibrary(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-0.5e+3,{"b":null}],"c":"\u00e9\ud83d\ude00\n"}`, `[]`, ` { } `, `[1,]`, `{"a":1,}`, `{"a"}`, `01`, `-`, `1.`, `1e`, `"\ud83d"`, `"\ud83d\u0041"`,
		`"\x"`, "\"\t\"", `[[[]]]`, `[}`, `{]`, `nul`, `true false`, `"a`, ``, `{"a":{"b":[{},[]]}} x`, `"\ude00\ud83d\ude00"`, `[1 2]`, `{"a" 1}`, `{1:2}`, `"\/\b\f"`,
		strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		source = strings.ToValidUTF8(source, "")
		w := New(nil)
		if got, want := w.Valid([]byte(source)), json.Valid([]byte(source)); got != want {
			t.Fatalf("%q is valid: %t, want %t", source, got, want)
		} else if !want {
			return
		}
		var want bytes.Buffer
		if err := json.Compact(&want, []byte(source)); err != nil {
			t.Fatal(err)
		}
		if got := w.Compacted([]byte(source)); got != want.String() {
			t.Errorf("%q compacted is %q, want %q", source, got, want.String())
		}
		var text string
		if trimmed := strings.TrimSpace(source); trimmed[0] == '"' && json.Unmarshal([]byte(trimmed), &text) == nil {
			if got := w.Text([]byte(trimmed)); got != text {
				t.Errorf("%s says %q, want %q", trimmed, got, text)
			}
		}
	})
}
