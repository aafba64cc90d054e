package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// chunks is a source of chunks.
func chunks(data ...string) func() ([]byte, error) {
	return func() ([]byte, error) {
		if len(data) == 0 {
			return nil, io.EOF
		}
		chunk := []byte(data[0])
		data = data[1:]
		return chunk, nil
	}
}

func snapshotHeader() *nodev1.SnapshotHeader {
	return &nodev1.SnapshotHeader{
		Group: 103, From: uint64(replicaA), To: uint64(replicaB), Term: 4, Index: 99, IndexTerm: 3, ConfState: []byte{8, 1},
	}
}

// onlySnapshot waits for the one snapshot that b's handler saw.
func (f *fixture) onlySnapshot(t *testing.T) (got Snapshot) {
	t.Helper()
	f.recB.Await(t, "a snapshot", func(s *State) bool { return len(s.Snapshots) > 0 })
	f.recB.Look(func(s *State) {
		if len(s.Snapshots) != 1 {
			t.Fatalf("%d snapshots arrived, want 1", len(s.Snapshots))
		}
		got = s.Snapshots[0]
	})
	return got
}

func snapshotWhole(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	var sent [][]byte
	var texts []string
	for i := range 40 {
		sent = append(sent, bytes.Repeat([]byte{byte(i)}, 1+i*1000))
		texts = append(texts, string(sent[i]))
	}
	if err := f.a.SendSnapshot(t.Context(), replicaB, snapshotHeader(), chunks(texts...)); err != nil {
		t.Fatal(err)
	}
	got := f.onlySnapshot(t)
	if diff := cmp.Diff(snapshotHeader(), got.Header, protocmp.Transform()); diff != "" || got.Err != nil {
		t.Errorf("header differs, error %v:\n%s", got.Err, diff)
	}
	if !slices.EqualFunc(sent, got.Chunks, bytes.Equal) {
		t.Errorf("%d chunks were received, not the %d that were sent, or other ones", len(got.Chunks), len(sent))
	}
}

func snapshotEmpty(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	if err := f.a.SendSnapshot(t.Context(), replicaB, snapshotHeader(), chunks()); err != nil {
		t.Fatal(err)
	}
	if got := f.onlySnapshot(t); got.Err != nil || len(got.Chunks) != 0 {
		t.Errorf("received %d chunks and error %v, want none", len(got.Chunks), got.Err)
	}
}

// neverWhole checks, once b has stopped, that its handler was told of the failure before the end, if it saw
// anything of the snapshot.
func (f *fixture) neverWhole(t *testing.T) {
	t.Helper()
	f.b.Stop(t.Context())
	f.recB.Look(func(s *State) {
		for _, got := range s.Snapshots {
			if got.Err == nil {
				t.Errorf("the receiver took %d chunks of a broken snapshot for the whole", len(got.Chunks))
			}
		}
	})
}

func snapshotSourceFails(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	broken := errors.New("disk on fire")
	count := 0
	err := f.a.SendSnapshot(t.Context(), replicaB, snapshotHeader(), func() ([]byte, error) {
		count++
		if count > 3 {
			return nil, broken
		}
		return []byte("chunk"), nil
	})
	if !errors.Is(err, broken) {
		t.Errorf("SendSnapshot = %v, want the error of the source", err)
	}
	f.neverWhole(t)
}

func snapshotStreamBreaks(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	const most = 10_000
	count := 0
	err := f.a.SendSnapshot(t.Context(), replicaB, snapshotHeader(), func() ([]byte, error) {
		count++
		switch count {
		case 5:
			f.cluster.Cut("a", "b")
		case most:
			return nil, io.EOF
		}
		return bytes.Repeat([]byte("x"), 10_000), nil
	})
	if err == nil || count >= most {
		t.Errorf("SendSnapshot over a broken stream = %v after %d chunks", err, count)
	}
	f.neverWhole(t)
}

func snapshotCorrupted(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	marker := "these bytes will be hit by a cosmic ray"
	f.cluster.Corrupt([]byte(marker))
	err := f.a.SendSnapshot(t.Context(), replicaB, snapshotHeader(), chunks("fine", "also "+marker, "fine"))
	if err == nil {
		t.Error("SendSnapshot of a corrupted chunk succeeded")
	}
	got := f.onlySnapshot(t)
	if !errors.Is(got.Err, transport.ErrCorrupt) || len(got.Chunks) != 1 {
		t.Errorf("received %d chunks and %v, want 1 and ErrCorrupt", len(got.Chunks), got.Err)
	}
}

func snapshotChunkTooLarge(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{SnapshotChunk: 100})
	err := f.a.SendSnapshot(t.Context(), replicaB, snapshotHeader(), chunks("fine", strings.Repeat("x", 101)))
	if err == nil || !strings.Contains(err.Error(), "limit 100") {
		t.Errorf("SendSnapshot = %v, want a refusal of the chunk", err)
	}
	f.neverWhole(t)
}

func snapshotForeign(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	header := snapshotHeader()
	header.From = 9
	if err := f.a.SendSnapshot(t.Context(), replicaB, header, chunks("x")); !errors.Is(err, transport.ErrRefused) {
		t.Errorf("SendSnapshot = %v, want ErrRefused", err)
	}
	f.recB.Look(func(s *State) {
		if len(s.Snapshots) > 0 {
			t.Error("the snapshot was delivered")
		}
	})
}

func snapshotInstallFails(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	f.recB.InstallError = errors.New("no room on disk")
	err := f.a.SendSnapshot(t.Context(), replicaB, snapshotHeader(), chunks("x"))
	if err == nil || !strings.Contains(err.Error(), "no room on disk") {
		t.Errorf("SendSnapshot = %v, want the receiver's reason", err)
	}
}

func forwardAnswered(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	for i := range 20 {
		data := bytes.Repeat([]byte{byte(i)}, i*5000)
		resp, err := f.a.Forward(t.Context(), replicaB, &nodev1.ForwardRequest{Group: 103, Data: data})
		if err != nil || !bytes.Equal(resp.GetResult(), data) || resp.GetIndex() != 103 {
			t.Fatalf("Forward of %d bytes = %d bytes, index %d, %v", len(data), len(resp.GetResult()), resp.GetIndex(), err)
		}
	}
}

func forwardNotDelivered(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{FrameLimit: 64 << 10})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.a.Forward(ended, replicaB, &nodev1.ForwardRequest{}); !errors.Is(err, transport.ErrNotDelivered) {
		t.Errorf("Forward with an ended context = %v, want ErrNotDelivered", err)
	}
	f.b.Stop(t.Context())
	retry := newTicker(t)
	for { // the first attempts may find the connection just closing, which leaves their outcome unknown
		_, err := f.a.Forward(t.Context(), replicaB, &nodev1.ForwardRequest{})
		if err == nil {
			t.Fatal("Forward to a stopped peer succeeded")
		}
		if errors.Is(err, transport.ErrNotDelivered) {
			break
		}
		retry.wait(t, "a proposal to a stopped peer to be surely not delivered")
	}
	f.recB.Look(func(s *State) {
		if s.Forwards != 0 {
			t.Errorf("%d proposals were delivered", s.Forwards)
		}
	})
}

func forwardUnknown(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	f.recB.HoldForward = make(chan struct{})
	result := make(chan error, 1)
	go func() {
		resp, err := f.a.Forward(t.Context(), replicaB, &nodev1.ForwardRequest{Data: []byte("x")})
		if err == nil {
			err = fmt.Errorf("answered with %v", resp)
		} else if !errors.Is(err, transport.ErrNotDelivered) {
			err = nil
		}
		result <- err
	}()
	f.recB.Await(t, "the proposal", func(s *State) bool { return s.Forwards == 1 })
	f.cluster.Cut("a", "b")
	close(f.recB.HoldForward)
	if err := <-result; err != nil {
		t.Errorf("Forward that lost its connection must leave the outcome unknown, but: %v", err)
	}
}
