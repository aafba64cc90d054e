package transport

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Old frames stay readable and new ones stay the same: a change here is a change of the format and needs a
// new version.
func TestGoldenFrame(t *testing.T) {
	t.Parallel()
	msgs := []Message{
		{Group: shard.Meta, Raft: &raftpb.Message{
			Type: raftpb.MsgVote.Enum(), To: new(uint64(2)), From: new(uint64(1)), Term: new(uint64(7)),
			LogTerm: new(uint64(6)), Index: new(uint64(1000)), Context: []byte("CampaignTransfer"),
		}},
		{Group: shard.UserShard(31), Raft: &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), To: new(uint64(2)), From: new(uint64(1)), Term: new(uint64(7)),
			LogTerm: new(uint64(7)), Index: new(uint64(300)), Commit: new(uint64(299)),
			Entries: []*raftpb.Entry{
				{Term: new(uint64(7)), Index: new(uint64(301)), Data: []byte("first")},
				{Term: new(uint64(7)), Index: new(uint64(302)), Type: raftpb.EntryConfChangeV2.Enum(), Data: []byte{}},
				{Term: new(uint64(8)), Index: new(uint64(400))},
			},
		}},
		{Group: shard.SharedShard(0), Raft: &raftpb.Message{
			Type: raftpb.MsgAppResp.Enum(), To: new(uint64(2)), From: new(uint64(1)), Reject: new(true), RejectHint: new(uint64(12)),
		}},
		{Group: shard.SharedShard(0), Raft: &raftpb.Message{
			Type: raftpb.MsgSnap.Enum(), To: new(uint64(2)), From: new(uint64(1)), Vote: new(uint64(0)),
			Snapshot: &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
				Index: new(uint64(90)), Term: new(uint64(4)),
				ConfState: &raftpb.ConfState{Voters: []uint64{1, 2, 300}, Learners: []uint64{4}, AutoLeave: new(false)},
			}},
		}},
	}
	path := filepath.Join("testdata", "frame_v1.hex")
	frame := encodeFrame(t, msgs...)
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(golden), "\n"), strings.Split(hex.Dump(frame), "\n")); diff != "" {
		t.Errorf("the encoding has changed (-golden +now):\n%s", diff)
	}
	got, err := decodeFrame(frame, defaultFrameLimit)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(msgs, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
