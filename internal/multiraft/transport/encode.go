package transport

import (
	"encoding/binary"
	"fmt"

	raftpb "go.etcd.io/raft/v3/raftpb"
)

// Bits of a message's 16-bit field mask. A clear bit means that the field is absent (nil), which is not
// the same as zero: the round trip keeps the difference, as protobuf does.
const (
	hasTo = 1 << iota
	hasFrom
	hasTerm
	hasLogTerm
	hasIndex
	hasCommit
	hasVote
	hasRejectHint
	hasReject
	isReject
	hasContext
	hasEntries
	hasSnapshot

	knownMessageBits = 1<<iota - 1
)

// Bits of an entry's 8-bit field mask.
const (
	entryHasTerm      = 1 << iota
	entrySameTerm     // the term is that of the entry before; only with entryHasTerm
	entryHasIndex     //
	entryNextIndex    // the index is that of the entry before plus one; only with entryHasIndex
	entryHasType      //
	entryHasData      //
	knownEntryBits    = 1<<iota - 1
	largestEntryFixed = 1 + 10 + 10 + 1 + 10 // mask, term, index, type, data length
)

// Bits of a snapshot's mask, of its metadata's mask and of its configuration's mask.
const (
	snapshotHasData     = 1 << iota // present and empty: snapshots never carry data here
	snapshotHasMetadata             //
	metadataHasIndex                //
	metadataHasTerm                 //
	metadataHasConf                 //
	confHasAutoLeave                //
	confAutoLeave                   //

	knownSnapshotBits = 1<<iota - 1
)

const largestMessageFixed = 10 + 1 + 2 + 8*10 + 10 + 10 // group, type, mask, numbers, context length, entry count

// mayTravel reports whether a message of this type may go from one node to another. Local messages would
// let a peer play this node's own storage or clock, and proposals are forwarded by their own call.
// MsgStorageApply and MsgStorageApplyResp travel as notices about applied indexes, which the engine takes
// out before Raft sees them; Raft itself refuses them from a peer.
func mayTravel(kind raftpb.MessageType) bool {
	switch kind {
	case raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgSnap,
		raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgTransferLeader, raftpb.MsgTimeoutNow,
		raftpb.MsgReadIndex, raftpb.MsgReadIndexResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp,
		raftpb.MsgStorageApply, raftpb.MsgStorageApplyResp:
		return true
	case raftpb.MsgHup, raftpb.MsgBeat, raftpb.MsgProp, raftpb.MsgUnreachable, raftpb.MsgSnapStatus,
		raftpb.MsgCheckQuorum, raftpb.MsgStorageAppend, raftpb.MsgStorageAppendResp, raftpb.MsgForgetLeader:
		return false
	}
	return false
}

// sizeBound returns a number of bytes that the encoded message does not exceed.
func sizeBound(m *raftpb.Message) int {
	if m == nil {
		return largestMessageFixed
	}
	size := largestMessageFixed + len(m.Context)
	for _, e := range m.Entries {
		size += largestEntryFixed + len(e.GetData())
	}
	if m.Snapshot != nil {
		conf := m.GetSnapshot().GetMetadata().GetConfState()
		ids := len(conf.GetVoters()) + len(conf.GetLearners()) + len(conf.GetVotersOutgoing()) + len(conf.GetLearnersNext())
		size += 1 + 2*10 + 4*10 + 10*ids
	}
	return size
}

// appendMessage appends the encoding of a message; docs/design/formats/frames.md has the table.
func appendMessage(dst []byte, msg Message) ([]byte, error) {
	m := msg.Raft
	if err := checkEncodable(msg); err != nil {
		return dst, err
	}
	dst = binary.AppendUvarint(dst, uint64(msg.Group))
	dst = append(dst, byte(m.GetType())) //nolint:gosec // mayTravel knows only small types
	maskAt := len(dst)
	dst = append(dst, 0, 0)
	mask := uint16(0)
	for i, field := range [...]*uint64{m.To, m.From, m.Term, m.LogTerm, m.Index, m.Commit, m.Vote, m.RejectHint} {
		if field != nil {
			mask |= hasTo << i
			dst = binary.AppendUvarint(dst, *field)
		}
	}
	if m.Reject != nil {
		mask |= hasReject
		if *m.Reject {
			mask |= isReject
		}
	}
	if m.Context != nil {
		mask |= hasContext
		dst = binary.AppendUvarint(dst, uint64(len(m.Context)))
		dst = append(dst, m.Context...)
	}
	if len(m.Entries) > 0 {
		mask |= hasEntries
		dst = appendEntries(dst, m)
	}
	if m.Snapshot != nil {
		mask |= hasSnapshot
		dst = appendSnapshot(dst, m.Snapshot)
	}
	binary.LittleEndian.PutUint16(dst[maskAt:], mask)
	return dst, nil
}

func checkEncodable(msg Message) error {
	m := msg.Raft
	switch {
	case m == nil:
		return fmt.Errorf("%v: message is nil: %w", msg.Group, ErrForbiddenMessage)
	case !mayTravel(m.GetType()):
		return fmt.Errorf("%v: %v: %w", msg.Group, m.GetType(), ErrForbiddenMessage)
	case len(m.Responses) > 0:
		return fmt.Errorf("%v: %v with responses: %w", msg.Group, m.GetType(), ErrForbiddenMessage)
	case len(m.Entries) > maxFrameEntries:
		return fmt.Errorf("%v: %v with %d entries, limit %d: %w",
			msg.Group, m.GetType(), len(m.Entries), maxFrameEntries, ErrForbiddenMessage)
	case len(m.GetSnapshot().GetData()) > 0:
		return fmt.Errorf("%v: %v with snapshot data: %w", msg.Group, m.GetType(), ErrForbiddenMessage)
	}
	conf := m.GetSnapshot().GetMetadata().GetConfState()
	for _, ids := range [...][]uint64{conf.GetVoters(), conf.GetLearners(), conf.GetVotersOutgoing(), conf.GetLearnersNext()} {
		if len(ids) > largestConfIDs {
			return fmt.Errorf("%v: configuration of %d replicas: %w", msg.Group, len(ids), ErrForbiddenMessage)
		}
	}
	for _, e := range m.Entries {
		if kind := e.GetType(); kind < raftpb.EntryNormal || kind > raftpb.EntryConfChangeV2 {
			return fmt.Errorf("%v: entry of type %d: %w", msg.Group, kind, ErrForbiddenMessage)
		}
	}
	return nil
}

// appendEntries appends the number of entries and the entries. The message's term and index stand for the
// entry before the first.
func appendEntries(dst []byte, m *raftpb.Message) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(m.Entries)))
	term, index := m.GetTerm(), m.GetIndex()
	for _, e := range m.Entries {
		maskAt := len(dst)
		dst = append(dst, 0)
		mask := byte(0)
		if e == nil {
			continue // protobuf encodes a nil element as an empty one, and so do we
		}
		if e.Term != nil {
			mask |= entryHasTerm
			if *e.Term == term {
				mask |= entrySameTerm
			} else {
				term = *e.Term
				dst = binary.AppendUvarint(dst, term)
			}
		}
		if e.Index != nil {
			mask |= entryHasIndex
			index++
			if *e.Index == index {
				mask |= entryNextIndex
			} else {
				index = *e.Index
				dst = binary.AppendUvarint(dst, index)
			}
		}
		if e.Type != nil {
			mask |= entryHasType
			dst = append(dst, byte(*e.Type)) //nolint:gosec // checkEncodable lets 0 to 2 pass
		}
		if e.Data != nil {
			mask |= entryHasData
			dst = binary.AppendUvarint(dst, uint64(len(e.Data)))
			dst = append(dst, e.Data...)
		}
		dst[maskAt] = mask
	}
	return dst
}

func appendSnapshot(dst []byte, s *raftpb.Snapshot) []byte {
	maskAt := len(dst)
	dst = append(dst, 0)
	mask := byte(0)
	if s.Data != nil {
		mask |= snapshotHasData
	}
	if meta := s.Metadata; meta != nil {
		mask |= snapshotHasMetadata
		if meta.Index != nil {
			mask |= metadataHasIndex
			dst = binary.AppendUvarint(dst, *meta.Index)
		}
		if meta.Term != nil {
			mask |= metadataHasTerm
			dst = binary.AppendUvarint(dst, *meta.Term)
		}
		if conf := meta.ConfState; conf != nil {
			mask |= metadataHasConf
			if conf.AutoLeave != nil {
				mask |= confHasAutoLeave
				if *conf.AutoLeave {
					mask |= confAutoLeave
				}
			}
			for _, ids := range [...][]uint64{conf.Voters, conf.Learners, conf.VotersOutgoing, conf.LearnersNext} {
				dst = binary.AppendUvarint(dst, uint64(len(ids)))
				for _, id := range ids {
					dst = binary.AppendUvarint(dst, id)
				}
			}
		}
	}
	dst[maskAt] = mask
	return dst
}
