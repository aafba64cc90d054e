// Package pairlog is the Raft log of a node over a store of pairs: a fallback for raftlog, for file systems on which
// segments that are overwritten in place go wrong. It keeps the same promises, and costs several times the processor time.
//
// The main type is Log. Each Append is one batch with one sync in a store of its own, which has a write-ahead log;
// truncation and commit indexes are batches without a sync, which the next one makes durable. What memory holds of every
// entry is its term and size, and the newest entries of all groups as far as a budget goes.
//
// Always true: an entry is under one key, so a replaced suffix is deleted in the batch that replaces it; entries of a group
// follow each other from its marker to its commit index at least, or opening says that the log is damaged; an error of a
// batch ends the log.
//
// Any goroutine may call a Log. Only multiraft is meant to. docs/design/formats/pairlog.md has the bytes.
package pairlog
