package restorevalue

import "testing"

// FuzzDecode wants every value to be refused, or to be the encoding of what is read from it.
func FuzzDecode(f *testing.F) {
	f.Add(Mark{Token: 7}.Encode())
	f.Add(Mark{Token: 7, Origin: 40_000}.Encode())
	f.Fuzz(func(t *testing.T, value []byte) {
		m, err := Decode(value)
		if err != nil {
			return
		}
		if again, err := Decode(m.Encode()); err != nil || again != m {
			t.Errorf("%x is %+v, which becomes %+v, %v", value, m, again, err)
		}
	})
}
