package multiraft

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// This file spaces the attempts to deliver a snapshot that fail one after the other.

// The pause after a failure: the first one, which doubles with each further failure in a row up to the longest. A quarter of
// it is drawn, so that groups that failed together do not come back together.
const (
	firstResend   = 250 * time.Millisecond
	longestResend = 15 * time.Second
	forgetResend  = 10 * time.Minute // after so long without another attempt the failures do not count any more
)

// failing is what is known of a peer that could not take a group's snapshot, guarded by the mutex of its sender.
type failing struct {
	failures int       // in a row, since the peer had kept more of an interrupted one than before
	kept     int       // ranges of an interrupted snapshot that the peer had
	next     time.Time // of the next attempt, at the earliest
	reason   error
}

// SnapshotFailure is a snapshot that a peer could not take so far and that will be sent again.
type SnapshotFailure struct {
	Group    shard.GroupID
	Peer     ident.ReplicaID
	Failures int       // in a row
	Next     time.Time // of the next attempt, at the earliest
	Reason   string
}

// resendPause is how long to wait after so many failures in a row; draw is evenly distributed.
func resendPause(failures int, draw uint16) time.Duration {
	pause := longestResend
	if failures < 8 { // beyond, the shift is over the longest anyway
		pause = min(firstResend<<(failures-1), longestResend)
	}
	return pause - pause/4*time.Duration(draw)/(1<<16)
}

// note records how an attempt ended and returns the failures in a row and the pause before the next attempt.
func (s *snapshotSender) note(target snapshotTarget, err error) (failures int, pause time.Duration) {
	var draw [2]byte
	_, _ = rand.Read(draw[:]) // never fails
	now := s.m.cfg.Clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, target)
	if err == nil || errors.Is(err, errNotLedHere) {
		delete(s.failing, target)
		return 0, 0
	}
	s.failed++
	f := s.failing[target]
	if f == nil {
		f = &failing{}
		s.failing[target] = f
	}
	f.failures++
	pause = resendPause(f.failures, binary.BigEndian.Uint16(draw[:]))
	f.next, f.reason = now.Add(pause), err
	return f.failures, pause
}

// noteKept starts the count anew when a peer has kept more of an interrupted snapshot than before: it gets on.
func (s *snapshotSender) noteKept(target snapshotTarget, ranges int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.failing[target]; f != nil {
		if ranges > f.kept {
			f.failures = 0
		}
		f.kept = ranges
	}
}

// pause is how long nothing is due.
func (s *snapshotSender) pause() time.Duration {
	now := s.m.cfg.Clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	pause := expireEvery
	for _, job := range s.queue {
		pause = min(pause, max(job.due.Sub(now), 0))
	}
	return pause
}

// forget drops failures of long ago, as of peers that were removed.
func (s *snapshotSender) forget() {
	now := s.m.cfg.Clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for target, f := range s.failing {
		if !s.pending[target] && now.Sub(f.next) > forgetResend {
			delete(s.failing, target)
		}
	}
}

// SnapshotFailures lists the snapshots that peers could not take so far, by group, and counts all failed attempts
// since the start.
func (m *Manager) SnapshotFailures() ([]SnapshotFailure, uint64) {
	m.sender.mu.Lock()
	defer m.sender.mu.Unlock()
	all := make([]SnapshotFailure, 0, len(m.sender.failing))
	for target, f := range m.sender.failing {
		all = append(all, SnapshotFailure{
			Group: target.group.id, Peer: target.to, Failures: f.failures, Next: f.next, Reason: f.reason.Error(),
		})
	}
	slices.SortFunc(all, func(a, b SnapshotFailure) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Peer, b.Peer))
	})
	return all, m.sender.failed
}
