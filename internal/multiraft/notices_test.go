package multiraft

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// TestAnswerFromBeforeANoticeDoesNotUndoIt has a replica say that it begins to drain while its answer from before is on its way: it goes on being given
// nothing until it says, when it is asked after that, that it does not drain.
func TestAnswerFromBeforeANoticeDoesNotUndoIt(t *testing.T) {
	const other = ident.ReplicaID(2)
	m := &Manager{}
	notice := func() { m.Operate(t.Context(), other, &nodev1.OperateRequest{Order: nodev1.Order_ORDER_AVOID}) }
	want := func(avoided bool, when string) {
		t.Helper()
		if got := m.policy.avoids(other); got != avoided {
			t.Errorf("%s: avoided is %v", when, got)
		}
	}
	asked := m.Notices()
	notice()
	m.Heard(other, false, asked)
	want(true, "an answer from before the notice")
	m.Heard(other, true, asked)
	want(true, "an answer that says the same")
	m.Heard(other, false, m.Notices())
	want(false, "it has ended draining")
	m.Heard(other, true, m.Notices()-1)
	want(true, "that it drains counts whenever it was asked")
}
