package transport

import (
	"encoding/binary"
	"fmt"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// messageSlab holds a message and everything its pointer fields point to, so that all messages of a frame
// take one allocation.
type messageSlab struct {
	message    raftpb.Message
	kind       raftpb.MessageType
	numbers    [8]uint64 // to, from, term, logTerm, index, commit, vote, rejectHint
	rejectFlag bool
}

// entrySlab does the same for an entry.
type entrySlab struct {
	entry raftpb.Entry
	term  uint64
	index uint64
	kind  raftpb.EntryType
}

const (
	smallestMessage = 1 + 1 + 2 // group, type, mask
	smallestEntry   = 1         // mask
	largestConfIDs  = 1 << 12   // replicas of one group, far above any real number
)

// decoder walks the body of a frame. The first failure sticks: bad stays set and numbers read as zero.
type decoder struct {
	rest     []byte
	bad      bool
	entries  []entrySlab     // not handed out yet
	pointers []*raftpb.Entry // not handed out yet
}

// decodeMessages decodes exactly the given number of messages and entries from body, without remainder.
// The counts come from the sender; they are held against the bytes that are there before they are believed.
func decodeMessages(body []byte, messages, entries uint32) ([]Message, error) {
	if messages > maxFrameMessages || entries > maxFrameEntries ||
		uint64(messages)*smallestMessage+uint64(entries)*smallestEntry > uint64(len(body)) {
		return nil, fmt.Errorf("frame body of %d bytes cannot hold %d messages and %d entries: %w",
			len(body), messages, entries, ErrMalformed)
	}
	out := make([]Message, messages)
	slabs := make([]messageSlab, messages)
	d := decoder{rest: body}
	if entries > 0 {
		d.entries = make([]entrySlab, entries)
		d.pointers = make([]*raftpb.Entry, entries)
	}
	for i := range out {
		out[i].Raft = &slabs[i].message
		if err := d.message(&out[i], &slabs[i]); err != nil {
			return nil, fmt.Errorf("message %d of %d: %w", i+1, messages, err)
		}
	}
	if len(d.rest) != 0 || len(d.entries) != 0 {
		return nil, fmt.Errorf("%d bytes and %d entries are left after the last message: %w",
			len(d.rest), len(d.entries), ErrMalformed)
	}
	return out, nil
}

func (d *decoder) message(out *Message, slab *messageSlab) error {
	out.Group = shard.GroupID(d.uvarint())
	slab.kind = raftpb.MessageType(d.byte())
	mask := uint16(d.byte()) | uint16(d.byte())<<8
	if d.bad || mask&^knownMessageBits != 0 || mask&(hasReject|isReject) == isReject {
		return fmt.Errorf("field mask %#x: %w", mask, ErrMalformed)
	}
	if !mayTravel(slab.kind) {
		return fmt.Errorf("%v: %v: %w", out.Group, slab.kind, ErrForbiddenMessage)
	}
	m := &slab.message
	m.Type = &slab.kind
	for i, field := range [...]**uint64{&m.To, &m.From, &m.Term, &m.LogTerm, &m.Index, &m.Commit, &m.Vote, &m.RejectHint} {
		if mask&(hasTo<<i) != 0 {
			slab.numbers[i] = d.uvarint()
			*field = &slab.numbers[i]
		}
	}
	if mask&hasReject != 0 {
		slab.rejectFlag = mask&isReject != 0
		m.Reject = &slab.rejectFlag
	}
	if mask&hasContext != 0 {
		m.Context = d.bytes()
	}
	if mask&hasEntries != 0 {
		d.messageEntries(m)
	}
	if mask&hasSnapshot != 0 {
		m.Snapshot = d.snapshot()
	}
	if d.bad {
		return fmt.Errorf("%v: %v: field is cut short or out of range: %w", out.Group, slab.kind, ErrMalformed)
	}
	return nil
}

// messageEntries decodes the entries of m out of the slabs of the frame.
func (d *decoder) messageEntries(m *raftpb.Message) {
	count := d.uvarint()
	if d.bad || count == 0 || count > uint64(len(d.entries)) {
		d.bad = true
		return
	}
	slabs := d.entries[:count:count]
	m.Entries = d.pointers[:count:count]
	d.entries, d.pointers = d.entries[count:], d.pointers[count:]
	term, index := m.GetTerm(), m.GetIndex()
	for i := range slabs {
		slab := &slabs[i]
		m.Entries[i] = &slab.entry
		mask := d.byte()
		if mask&^knownEntryBits != 0 || mask&(entryHasTerm|entrySameTerm) == entrySameTerm ||
			mask&(entryHasIndex|entryNextIndex) == entryNextIndex {
			d.bad = true
		}
		if d.bad {
			return
		}
		if mask&entryHasTerm != 0 {
			if mask&entrySameTerm == 0 {
				term = d.uvarint()
			}
			slab.term = term
			slab.entry.Term = &slab.term
		}
		if mask&entryHasIndex != 0 {
			index++
			if mask&entryNextIndex == 0 {
				index = d.uvarint()
			}
			slab.index = index
			slab.entry.Index = &slab.index
		}
		if mask&entryHasType != 0 {
			slab.kind = raftpb.EntryType(d.byte())
			slab.entry.Type = &slab.kind
			d.bad = d.bad || slab.kind > raftpb.EntryConfChangeV2
		}
		if mask&entryHasData != 0 {
			slab.entry.Data = d.bytes()
		}
	}
}

func (d *decoder) snapshot() *raftpb.Snapshot {
	mask := d.byte()
	const needsMetadata = metadataHasIndex | metadataHasTerm | metadataHasConf
	if d.bad || mask&^knownSnapshotBits != 0 ||
		mask&snapshotHasMetadata == 0 && mask&needsMetadata != 0 ||
		mask&metadataHasConf == 0 && mask&confHasAutoLeave != 0 ||
		mask&confHasAutoLeave == 0 && mask&confAutoLeave != 0 {
		d.bad = true
		return nil
	}
	s := &raftpb.Snapshot{}
	if mask&snapshotHasData != 0 {
		s.Data = []byte{}
	}
	if mask&snapshotHasMetadata == 0 {
		return s
	}
	s.Metadata = &raftpb.SnapshotMetadata{}
	if mask&metadataHasIndex != 0 {
		s.Metadata.Index = new(d.uvarint())
	}
	if mask&metadataHasTerm != 0 {
		s.Metadata.Term = new(d.uvarint())
	}
	if mask&metadataHasConf != 0 {
		conf := &raftpb.ConfState{}
		s.Metadata.ConfState = conf
		if mask&confHasAutoLeave != 0 {
			conf.AutoLeave = new(mask&confAutoLeave != 0)
		}
		for _, ids := range [...]*[]uint64{&conf.Voters, &conf.Learners, &conf.VotersOutgoing, &conf.LearnersNext} {
			*ids = d.replicas()
		}
	}
	return s
}

func (d *decoder) replicas() []uint64 {
	count := d.uvarint()
	if d.bad || count > largestConfIDs || count > uint64(len(d.rest)) {
		d.bad = true
		return nil
	}
	if count == 0 {
		return nil
	}
	ids := make([]uint64, count)
	for i := range ids {
		ids[i] = d.uvarint()
	}
	return ids
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.bad = true
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	if len(d.rest) > 0 && d.rest[0] < 0x80 {
		v := uint64(d.rest[0])
		d.rest = d.rest[1:]
		return v
	}
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// bytes returns the next length-prefixed bytes, aliasing the frame; present but empty is not nil.
func (d *decoder) bytes() []byte {
	length := d.uvarint()
	if d.bad || length > uint64(len(d.rest)) {
		d.bad = true
		return nil
	}
	data := d.rest[:length:length]
	d.rest = d.rest[length:]
	return data
}
