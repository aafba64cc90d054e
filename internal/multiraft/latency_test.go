package multiraft

import (
	"testing"
	"time"
)

func TestLatency(t *testing.T) {
	t.Parallel()
	var l latency
	if count, total, latest := l.read(); count != 0 || total != 0 || latest != 0 {
		t.Fatalf("of nothing: %d, %v, %v", count, total, latest)
	}
	l.add(time.Second)
	if _, _, latest := l.read(); latest != time.Second {
		t.Errorf("after one of a second: %v", latest)
	}
	for range 100 {
		l.add(time.Millisecond)
	}
	count, total, latest := l.read()
	if count != 101 || total != 1100*time.Millisecond {
		t.Errorf("%d took %v together", count, total)
	}
	if latest < time.Millisecond || latest > 2*time.Millisecond {
		t.Errorf("the latest took %v, not about a millisecond", latest)
	}
	l.add(-time.Second) // a clock that was set back
	if _, again, _ := l.read(); again < total {
		t.Errorf("the sum fell from %v to %v", total, again)
	}
}
