package multiraft

import (
	"testing"

	raftpb "go.etcd.io/raft/v3/raftpb"
)

// FuzzDecodeApplied gives any bytes to the reader of applied states; what it takes, it writes and takes again.
func FuzzDecodeApplied(f *testing.F) {
	good, err := encodeApplied(AppliedState{Index: 7, Term: 2, Conf: &raftpb.ConfState{Voters: []uint64{1, 2, 3}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		state, err := decodeApplied(raw)
		if err != nil {
			return
		}
		encoded, err := encodeApplied(state)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeApplied(encoded)
		if err != nil || again.Index != state.Index || again.Term != state.Term {
			t.Fatalf("%+v comes back as %+v, %v", state, again, err)
		}
	})
}
