package main

import (
	"slices"
	"testing"
)

// answer is a ForwardResponse with result "r", index 7, error 1, leader 3, message "m", and a field of a later version.
var answer = []byte{0x0a, 1, 'r', 0x10, 7, 0x18, 1, 0x20, 3, 0x2a, 1, 'm', 0x30, 9}

func TestForwardIsReadAsItIsWritten(t *testing.T) {
	var r forwardResponse
	if err := r.decode(answer); err != nil || r != (forwardResponse{code: 1, leader: 3, message: "m"}) {
		t.Errorf("%+v, %v", r, err)
	}
	for _, cut := range []int{1, 2, 4, 6, 8, 10, 11, 13} {
		if err := new(forwardResponse).decode(answer[:cut]); err == nil {
			t.Errorf("cut to %d bytes it is taken", cut)
		}
	}
}

func TestAnswersAreReadAsTheyAreWritten(t *testing.T) {
	// ForwardAnswers of call 5, without a response, and of call 300, with that above.
	in := append([]byte{0x0a, 2, 0x08, 5, 0x0a, 19, 0x08, 0xac, 2, 0x12, 14}, answer...)
	var got forwardAnswers
	want := forwardAnswers{{number: 5}, {number: 300, response: forwardResponse{code: 1, leader: 3, message: "m"}}}
	if err := got.decode(in); err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzForwardAnswers(f *testing.F) {
	f.Add(append([]byte{0x0a, 18, 0x08, 5, 0x12, 14}, answer...))
	f.Fuzz(func(t *testing.T, in []byte) {
		var a forwardAnswers
		if err := a.decode(in); err == nil && len(a) > len(in) {
			t.Errorf("%d answers are in %d bytes", len(a), len(in))
		}
	})
}

func FuzzForwardResponse(f *testing.F) {
	f.Add(answer)
	f.Fuzz(func(t *testing.T, in []byte) {
		var r forwardResponse
		if err := r.decode(in); err == nil && len(r.message) > len(in) {
			t.Errorf("%d bytes of message are in %d bytes", len(r.message), len(in))
		}
	})
}
