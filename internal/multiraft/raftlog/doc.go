// Package raftlog is the one Raft log of a node: entries, hard states and truncation of all groups in one
// sequence of segments, with one sync for everything that is ready.
//
// It is the only write-ahead log of the node; the row store keeps none of its own. It knows nothing of
// what entries mean and decides nothing about Raft; it stores what RawNode asks for and gives it back.
//
// The main type is Log. A worker hands Append the updates of every group that has something to remember;
// they become one record, one write and one fdatasync, and Append returns when they are durable.
// Concurrent callers share a record. Group is the read side of one group and has what raft.Storage needs.
//
// Always true: at most one record of the log is not synced, so a record that does not verify is a torn tail
// when nothing follows it and damage otherwise, and damage is never cut; a record is replayed whole
// or not at all; stale bytes of a recycled segment never verify; a replaced suffix never returns; a
// segment is freed only after what was live in it is durable elsewhere; an error of a write or a sync ends
// the log.
//
// Any goroutine may call a Log. Only multiraft and executor's standalone engine are meant to. DESIGN.md
// beside this file tells the flow and its costs; docs/design/formats/raftlog.md has the bytes.
package raftlog
