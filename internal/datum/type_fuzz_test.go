package datum

import "testing"

// FuzzParseTypeName checks that a name of any letters gives an error or a type that has a name, and that the name is
// of the same type again.
func FuzzParseTypeName(f *testing.F) {
	f.Add("varchar", 20, 0, 1)
	f.Add("DOUBLE  precision", 0, 0, 0)
	f.Add("decimal", 10, 2, 2)
	f.Add("embedding", 3, 0, 1)
	f.Add("int[]", 0, 0, 0)
	f.Add("numeric", -1, 99, 2)
	f.Fuzz(func(t *testing.T, name string, first, second, n int) {
		args := []int{first, second}[:uint(n)%3]
		parsed, err := ParseTypeName(name, args)
		if err != nil {
			return
		}
		if parsed.Kind == Null || parsed.Kind.String() == "" {
			t.Fatalf("%q %v is of no kind: %+v", name, args, parsed)
		}
		if parsed.Kind == Decimal && parsed.Scale > parsed.Precision {
			t.Fatalf("%q %v has precision %d and scale %d", name, args, parsed.Precision, parsed.Scale)
		}
		if parsed.Kind == Embedding && parsed.Dims == 0 {
			t.Fatalf("%q %v has no dimensions", name, args)
		}
	})
}
