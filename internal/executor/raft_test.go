package executor

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// script is both ends of the executor: every attempt, here or at a peer, takes the next answer.
type script struct {
	t       *testing.T
	self    ident.ReplicaID
	leader  ident.ReplicaID
	answers []Attempt
	asked   []ident.ReplicaID
	ids     []ident.RequestID
	modes   []Mode
	sent    [][]byte
}

func (s *script) next(to ident.ReplicaID, id ident.RequestID, data []byte) Attempt {
	s.asked, s.ids, s.sent = append(s.asked, to), append(s.ids, id), append(s.sent, data)
	if len(s.answers) == 0 {
		return Attempt{Outcome: Unreachable, Err: errors.New("nobody there")}
	}
	answer := s.answers[0]
	s.answers = s.answers[1:]
	return answer
}

func (s *script) Propose(_ context.Context, mode Mode, _ shard.GroupID, id ident.RequestID, data []byte) Attempt {
	s.modes = append(s.modes, mode)
	return s.next(s.self, id, data)
}
func (s *script) Barrier(context.Context, shard.GroupID) (uint64, error) { return 7, nil }
func (s *script) Applied(g shard.GroupID) uint64 {
	if g == shard.Meta {
		return 41
	}
	return 23
}
func (s *script) Self() ident.ReplicaID                { return s.self }
func (s *script) Leader(shard.GroupID) ident.ReplicaID { return s.leader }
func (s *script) Forward(_ context.Context, to ident.ReplicaID, mode Mode, _ shard.GroupID, id ident.RequestID, data []byte) Attempt {
	s.modes = append(s.modes, mode)
	return s.next(to, id, data)
}

func done(t *testing.T, response *commandv1.Response) Attempt {
	t.Helper()
	raw, err := command.EncodeResponse(response)
	if err != nil {
		t.Fatal(err)
	}
	return Attempt{Outcome: Done, Result: raw}
}

func execute(t *testing.T, s *script, patience time.Duration) (*commandv1.Response, error) {
	t.Helper()
	return executeIn(t, s, patience, Modes{})
}

func executeIn(t *testing.T, s *script, patience time.Duration, modes Modes) (*commandv1.Response, error) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	r := NewRaft(s, s, clock.Real{}, random, patience, modes, nil)
	return r.Execute(t.Context(), shard.UserShard(3), &commandv1.Command{
		Header: &commandv1.Header{Actor: "alice"},
		Body:   &commandv1.Command_PurgeTable{PurgeTable: &commandv1.PurgeTable{TableId: 9}},
	})
}

func TestRetriesKeepTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{t: t, self: 1, leader: 2, answers: []Attempt{
			{Outcome: Unreachable}, {Outcome: Unknown}, {Outcome: NotLeader, Leader: 3}, done(t, &commandv1.Response{Index: 5}),
		}}
		response, err := execute(t, s, time.Minute)
		if err != nil || response.GetIndex() != 5 {
			t.Fatalf("Execute = %v, %v", response, err)
		}
		want := []ident.ReplicaID{2, 2, 2, 3}
		for i, to := range s.asked {
			if to != want[i] {
				t.Errorf("attempt %d went to replica %d, want %d", i, to, want[i])
			}
			if s.ids[i] != s.ids[0] || !bytes.Equal(s.sent[i], s.sent[0]) {
				t.Errorf("attempt %d is another request", i)
			}
		}
		cmd, err := command.Decode(s.sent[0])
		if err != nil {
			t.Fatal(err)
		}
		h := cmd.GetHeader()
		if h.GetMetaIndex() != 41 || h.GetMinIndex() != 23 || h.GetActor() != "alice" || h.GetNowMicros() == 0 {
			t.Errorf("header = %v", h)
		}
	})
}

func TestOutcomesBecomeFaults(t *testing.T) {
	tests := []struct {
		name    string
		answers []Attempt
		want    fault.Kind
	}{
		{"nobody answers", nil, fault.Unavailable},
		{"once proposed, never told", []Attempt{{Outcome: Unknown}}, fault.Timeout},
		{"overloaded", []Attempt{{Outcome: Overloaded}}, fault.Overloaded},
		{"overloaded for a follower's sake", []Attempt{{Outcome: Overloaded, Err: errors.New("a live replica is too far behind")}}, fault.Overloaded},
		{"overloaded after an unknown outcome", []Attempt{{Outcome: Unknown}, {Outcome: Overloaded}}, fault.Timeout},
		{"the leader's disk is full", []Attempt{{Outcome: DiskFull}}, fault.DiskFull},
		{"a full disk after an unknown outcome", []Attempt{{Outcome: Unknown}, {Outcome: DiskFull}}, fault.Timeout},
		{"committed, not applied everywhere", []Attempt{{Outcome: Behind, Err: errors.New("not yet applied on node 3")}}, fault.Timeout},
		{"a voter is missing after an unknown outcome", []Attempt{{Outcome: Unknown}, {Outcome: Missing, Err: errors.New("no answer from node 3")}}, fault.Timeout},
		{"a voter is missing", []Attempt{{Outcome: Missing, Err: errors.New("no answer from node 3")}}, fault.Unavailable},
		{"too large", []Attempt{{Outcome: TooLarge, Err: errors.New("5 MiB")}}, fault.LimitExceeded},
		{"refused by the state machine", []Attempt{done(t, &commandv1.Response{
			Failure: &commandv1.Failure{Kind: uint32(fault.DuplicateKey), Message: "Primary key violation"},
		})}, fault.DuplicateKey},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := execute(t, &script{t: t, self: 1, leader: 2, answers: test.answers}, 3*time.Second)
				if fault.KindOf(err) != test.want {
					t.Errorf("error %v is %v, want %v", err, fault.KindOf(err), test.want)
				}
			})
		})
	}
}

func TestHintsCannotLoopWithoutPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{t: t, self: 1, leader: 2}
		for range 1000 {
			s.answers = append(s.answers, Attempt{Outcome: NotLeader, Leader: 3}, Attempt{Outcome: NotLeader, Leader: 2})
		}
		_, err := execute(t, s, time.Second)
		if fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("error = %v", err)
		}
		if len(s.asked) > 100 {
			t.Errorf("%d attempts in one second: two replicas that point at each other make a loop", len(s.asked))
		}
	})
}

func TestNoLeaderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{t: t, self: 1}
		_, err := execute(t, s, time.Second)
		if fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("error = %v", err)
		}
		if len(s.asked) != 0 {
			t.Errorf("%d attempts without a leader", len(s.asked))
		}
	})
}

func TestDirectDoesNotRetry(t *testing.T) {
	s := &script{t: t, self: 1, answers: []Attempt{{Outcome: Stopped}}}
	d := NewDirect(s, clock.Real{}, rand.NewChaCha8([32]byte{2}), nil)
	_, err := d.Execute(t.Context(), shard.Meta, &commandv1.Command{
		Body: &commandv1.Command_DropUser{DropUser: &commandv1.DropUser{Id: "bob"}},
	})
	if fault.KindOf(err) != fault.Unavailable || len(s.asked) != 1 {
		t.Errorf("error = %v after %d attempts", err, len(s.asked))
	}
	if index, err := d.Barrier(t.Context(), shard.Meta); err != nil || index != 7 {
		t.Errorf("Barrier = %d, %v", index, err)
	}
}

// reader counts how barriers were asked.
type reader struct {
	script
	barriers, leases int
}

func (r *reader) Barrier(context.Context, shard.GroupID) (uint64, error) {
	r.barriers++
	return 7, nil
}

func (r *reader) LeaseBarrier(context.Context, shard.GroupID) (uint64, error) {
	r.leases++
	return 8, nil
}

// TestReadLevels: queries ask for no more than their level needs, and nothing but queries reads at another level than
// the strictest.
func TestReadLevels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &reader{script: script{t: t, self: 1}}
		r := NewRaft(p, p, clock.Real{}, rand.NewChaCha8([32]byte{1}), time.Minute, Modes{}, nil)
		r.SetReads(Reads{Level: Local, Staleness: time.Second})
		query := AsQuery(t.Context())
		at := func(ctx context.Context, level ReadLevel, staleness time.Duration) context.Context {
			return WithReads(ctx, Reads{Level: level, Staleness: staleness})
		}
		check := func(what string, ctx context.Context, group shard.GroupID, index uint64, barriers, leases int) {
			t.Helper()
			p.barriers, p.leases = 0, 0
			got, err := r.Barrier(ctx, group)
			if err != nil || got != index || p.barriers != barriers || p.leases != leases {
				t.Errorf("%s: index %d (%v) with %d barriers and %d leases, want %d with %d and %d",
					what, got, err, p.barriers, p.leases, index, barriers, leases)
			}
		}
		one, other := shard.UserShard(1), shard.UserShard(2)
		check("the setting", query, one, 23, 0, 0)
		check("a change under that setting", t.Context(), one, 7, 1, 0)
		check("a change that asks for less", at(t.Context(), Local, 0), one, 7, 1, 0)
		check("linearizable on request", at(query, Linearizable, 0), one, 7, 1, 0)
		check("lease", at(query, Lease, 0), one, 8, 0, 1)
		check("bounded, just read", at(query, Bounded, 0), one, 23, 0, 0)
		check("bounded, never read", at(query, Bounded, 0), other, 7, 1, 0)
		time.Sleep(900 * time.Millisecond) // of the bubble's clock, here and below: nobody waits
		check("bounded by the setting, new enough", at(query, Bounded, 0), one, 23, 0, 0)
		check("bounded by the request, too old", at(query, Bounded, 500*time.Millisecond), one, 7, 1, 0)
		time.Sleep(1100 * time.Millisecond)
		check("bounded by the setting, too old", at(query, Bounded, 0), one, 7, 1, 0)
		telemetry := r.Telemetry()
		if telemetry.Spared != 3 || telemetry.Barriers[Bounded] != 5 || telemetry.Barriers[Lease] != 1 {
			t.Errorf("telemetry = %+v", telemetry)
		}
		for level := range ReadLevel(readLevels) {
			if parsed, err := ParseReadLevel(level.String()); err != nil || parsed != level {
				t.Errorf("%v is parsed as %v (%v)", level, parsed, err)
			}
		}
	})
}

// TestAllSaysWhatBecameOfAWrite: the leader went while a write in mode all was under way, and is the voter that its successor misses. The
// successor is asked once more, for a quorum, and the client hears that the write is committed and who is behind, or that it was refused.
func TestAllSaysWhatBecameOfAWrite(t *testing.T) {
	missing := Attempt{Outcome: Missing, Err: errors.New("no answer from node 3")}
	for name, c := range map[string]struct {
		third Attempt
		want  fault.Kind
		text  string
	}{
		"committed": {done(t, &commandv1.Response{Index: 5}), fault.Timeout, "committed, not yet applied everywhere: no answer from node 3"},
		"refused by the state machine": {done(t, &commandv1.Response{
			Failure: &commandv1.Failure{Kind: uint32(fault.DuplicateKey), Message: "Primary key violation"},
		}), fault.DuplicateKey, "Primary key violation"},
		"still not known": {Attempt{Outcome: Unknown}, fault.Timeout, "is not known"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{t: t, self: 1, leader: 2, answers: []Attempt{{Outcome: Unknown}, missing, c.third}}
			_, err := executeIn(t, s, time.Minute, Modes{User: All})
			if fault.KindOf(err) != c.want || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v, want %q", name, err, c.text)
			}
			if !slices.Equal(s.modes, []Mode{All, All, Quorum}) || s.ids[2] != s.ids[0] || !bytes.Equal(s.sent[2], s.sent[0]) {
				t.Errorf("%s: it was asked in the modes %v for the requests %v", name, s.modes, s.ids)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := &script{t: t, self: 1, leader: 2, answers: []Attempt{missing, done(t, &commandv1.Response{Index: 5})}}
		_, err := executeIn(t, s, time.Minute, Modes{User: All})
		if len(s.asked) != 1 || !strings.Contains(err.Error(), "nothing was written") {
			t.Errorf("where nothing can be committed: %v after %d attempts", err, len(s.asked))
		}
	})
}
