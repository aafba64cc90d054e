package multiraft

import (
	"slices"

	"go.etcd.io/raft/v3/confchange"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// nextConf computes the configuration that follows conf under a change, exactly as Raft does. It is
// computed apart from the Raft instance so that it can be stored in the same batch as the applied index;
// the worker compares both. ok is false when the change does not fit, which is the same on every replica.
func nextConf(conf *raftpb.ConfState, change *raftpb.ConfChangeV2) (next *raftpb.ConfState, ok bool) {
	// The limits shape only the progress of peers, which is thrown away here.
	progress := tracker.MakeProgressTracker(1, 0)
	cfg, peers, err := confchange.Restore(confchange.Changer{Tracker: progress}, conf)
	if err != nil {
		return nil, false
	}
	progress.Config, progress.Progress = cfg, peers
	changer := confchange.Changer{Tracker: progress}
	if change.LeaveJoint() {
		cfg, peers, err = changer.LeaveJoint()
	} else if autoLeave, joint := change.EnterJoint(); joint {
		cfg, peers, err = changer.EnterJoint(autoLeave, change.Changes...)
	} else {
		cfg, peers, err = changer.Simple(change.Changes...)
	}
	if err != nil {
		return nil, false
	}
	progress.Config, progress.Progress = cfg, peers
	return progress.ConfState(), true
}

// isVoter reports whether a replica votes in a configuration, incoming or outgoing.
func isVoter(conf *raftpb.ConfState, replica uint64) bool {
	return slices.Contains(conf.GetVoters(), replica) || slices.Contains(conf.GetVotersOutgoing(), replica)
}

// isJoint reports whether a configuration is in transition.
func isJoint(conf *raftpb.ConfState) bool { return len(conf.GetVotersOutgoing()) > 0 }
