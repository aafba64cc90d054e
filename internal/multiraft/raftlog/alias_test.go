package raftlog_test

import "go.etcd.io/raft/v3/raftpb"

type raftpbEntry = raftpb.Entry
