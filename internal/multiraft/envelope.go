package multiraft

import (
	"encoding/binary"
	"fmt"
	"slices"

	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// envelopeVersion is the first byte of every normal log entry with data.
const envelopeVersion = 1

// envelopeBytes is the length of the envelope before the command: version and request id.
const envelopeBytes = 1 + 16

// sealEnvelope wraps a command for the log: one version byte, the 16 bytes of the request id, the command. It uses the
// memory of into where that is enough.
func sealEnvelope(into []byte, id ident.RequestID, data []byte) []byte {
	sealed := slices.Grow(into[:0], envelopeBytes+len(data))
	sealed = append(sealed, envelopeVersion)
	sealed = append(sealed, id[:]...)
	return append(sealed, data...)
}

// openEnvelope is the inverse of sealEnvelope; an entry without data is a Raft no-op and opens as an
// entry without a request id.
func openEnvelope(e *raftpb.Entry) (command.Entry, error) {
	opened := command.Entry{Index: e.GetIndex(), Term: e.GetTerm()}
	data := e.GetData()
	if len(data) == 0 {
		return opened, nil
	}
	if len(data) < envelopeBytes || data[0] != envelopeVersion {
		return opened, fmt.Errorf("log entry %d: unknown envelope (%d bytes)", e.GetIndex(), len(data))
	}
	copy(opened.RequestID[:], data[1:envelopeBytes])
	opened.Data = data[envelopeBytes:]
	return opened, nil
}

// appliedVersion is the first byte of a stored applied state.
const appliedVersion = 1

// AppliedState says how far a group's stored state has come. It is written in the same batch as the rows.
type AppliedState struct {
	Index uint64            // highest applied log index; zero for a replica without any state
	Term  uint64            // term of the entry at Index
	Conf  *raftpb.ConfState // configuration as of Index; never nil
}

// encodeApplied serialises an applied state: version byte, protobuf snapshot metadata. It is done for every group in every
// pass of apply, so only the configuration goes through protobuf, and that once, see confEncoder.
func encodeApplied(s AppliedState) ([]byte, error) {
	var conf confEncoder
	return conf.appendApplied(nil, s)
}

// confEncoder encodes applied states of one group and remembers the configuration, which hardly ever changes. A
// configuration is never changed in place.
type confEncoder struct {
	conf    *raftpb.ConfState
	encoded []byte // the field of the metadata
}

// Tags of the fields of raftpb.SnapshotMetadata.
const (
	metadataConf  = 1<<3 | 2
	metadataIndex = 2 << 3
	metadataTerm  = 3 << 3
)

func (c *confEncoder) appendApplied(to []byte, s AppliedState) ([]byte, error) {
	if s.Conf != c.conf || c.encoded == nil {
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(s.Conf)
		if err != nil {
			return nil, fmt.Errorf("encode applied state: %w", err)
		}
		c.encoded = append(binary.AppendUvarint([]byte{metadataConf}, uint64(len(body))), body...)
		c.conf = s.Conf
	}
	to = append(to, appliedVersion)
	to = append(to, c.encoded...)
	to = binary.AppendUvarint(append(to, metadataIndex), s.Index)
	return binary.AppendUvarint(append(to, metadataTerm), s.Term), nil
}

// decodeApplied is the inverse of encodeApplied.
func decodeApplied(raw []byte) (AppliedState, error) {
	if len(raw) == 0 || raw[0] != appliedVersion {
		return AppliedState{}, fmt.Errorf("applied state: unknown format (%d bytes)", len(raw))
	}
	var m raftpb.SnapshotMetadata
	if err := proto.Unmarshal(raw[1:], &m); err != nil {
		return AppliedState{}, fmt.Errorf("applied state: %w", err)
	}
	conf := m.GetConfState()
	if conf == nil {
		conf = &raftpb.ConfState{}
	}
	return AppliedState{Index: m.GetIndex(), Term: m.GetTerm(), Conf: conf}, nil
}
