package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// travelling are the types that may go between nodes.
func travelling() []raftpb.MessageType {
	var kinds []raftpb.MessageType
	for kind := range raftpb.MessageType_name {
		if mayTravel(raftpb.MessageType(kind)) {
			kinds = append(kinds, raftpb.MessageType(kind))
		}
	}
	return kinds
}

// randomNumber draws from all sizes, nil included.
func randomNumber(r *rand.Rand) *uint64 {
	switch r.IntN(5) {
	case 0:
		return nil
	case 1:
		return new(uint64(0))
	case 2:
		return new(uint64(math.MaxUint64))
	case 3:
		return new(r.Uint64N(300))
	}
	return new(r.Uint64())
}

func randomBytes(r *rand.Rand, most int) []byte {
	switch r.IntN(4) {
	case 0:
		return nil
	case 1:
		return []byte{}
	}
	data := make([]byte, r.IntN(most))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

func randomBool(r *rand.Rand) *bool {
	if r.IntN(2) == 0 {
		return nil
	}
	return new(r.IntN(2) == 0)
}

func randomEntry(r *rand.Rand, previous uint64) *raftpb.Entry {
	e := &raftpb.Entry{Term: randomNumber(r), Index: randomNumber(r), Data: randomBytes(r, 200)}
	if r.IntN(2) == 0 { // as Raft makes them
		e.Term, e.Index = new(uint64(5)), new(previous+1)
	}
	if r.IntN(3) > 0 {
		e.Type = raftpb.EntryType(r.IntN(3)).Enum()
	}
	return e
}

func randomSnapshot(r *rand.Rand) *raftpb.Snapshot {
	s := &raftpb.Snapshot{}
	if r.IntN(3) == 0 {
		s.Data = []byte{}
	}
	if r.IntN(4) == 0 {
		return s
	}
	s.Metadata = &raftpb.SnapshotMetadata{Index: randomNumber(r), Term: randomNumber(r)}
	if r.IntN(4) == 0 {
		return s
	}
	ids := func() (list []uint64) {
		for range r.IntN(5) {
			list = append(list, r.Uint64N(1000))
		}
		return list
	}
	s.Metadata.ConfState = &raftpb.ConfState{
		Voters: ids(), Learners: ids(), VotersOutgoing: ids(), LearnersNext: ids(), AutoLeave: randomBool(r),
	}
	return s
}

func randomMessage(r *rand.Rand) Message {
	kinds := travelling()
	m := &raftpb.Message{
		Type: kinds[r.IntN(len(kinds))].Enum(), To: randomNumber(r), From: randomNumber(r), Term: randomNumber(r),
		LogTerm: randomNumber(r), Index: randomNumber(r), Commit: randomNumber(r), Vote: randomNumber(r),
		Reject: randomBool(r), RejectHint: randomNumber(r), Context: randomBytes(r, 40),
	}
	previous := m.GetIndex()
	for range r.IntN(6) {
		e := randomEntry(r, previous)
		previous = e.GetIndex()
		m.Entries = append(m.Entries, e)
	}
	if r.IntN(3) == 0 {
		m.Snapshot = randomSnapshot(r)
	}
	return Message{Group: shard.GroupID(r.Uint64N(1 << (1 + r.UintN(40)))), Raft: m}
}

// encodeFrame builds a frame or fails the test.
func encodeFrame(tb testing.TB, msgs ...Message) []byte {
	tb.Helper()
	var b frameBuilder
	b.reset(nil)
	for _, m := range msgs {
		if err := b.add(m); err != nil {
			tb.Fatal(err)
		}
	}
	return b.finish()
}

// The twin is protobuf: what went through a frame must equal what went through protobuf.
func TestRoundTripEqualsProtobuf(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		var sent []Message
		for range r.IntN(8) {
			sent = append(sent, randomMessage(r))
		}
		got, err := decodeFrame(encodeFrame(t, sent...), defaultFrameLimit)
		if err != nil || len(got) != len(sent) {
			t.Fatalf("seed %d: decoded %d of %d messages: %v", seed, len(got), len(sent), err)
		}
		for i := range sent {
			data, err := proto.Marshal(sent[i].Raft)
			if err != nil {
				t.Fatal(err)
			}
			want := &raftpb.Message{}
			if err := proto.Unmarshal(data, want); err != nil {
				t.Fatal(err)
			}
			if got[i].Group != sent[i].Group || !proto.Equal(want, got[i].Raft) {
				t.Fatalf("seed %d: message of group %d differs (-protobuf +frame):\n%s", seed, sent[i].Group,
					cmp.Diff(want, got[i].Raft, protocmp.Transform()))
			}
			if bound := sizeBound(sent[i].Raft); bound < len(encodeFrame(t, sent[i]))-frameHeaderSize {
				t.Fatalf("seed %d: size bound %d is below the size %d", seed, bound, len(encodeFrame(t, sent[i]))-frameHeaderSize)
			}
		}
	}
}

// A nil entry is what protobuf makes of it: an empty one.
func TestNilEntryBecomesEmpty(t *testing.T) {
	t.Parallel()
	m := Message{Raft: &raftpb.Message{Type: raftpb.MsgApp.Enum(), Entries: []*raftpb.Entry{nil, {Data: []byte("x")}}}}
	got, err := decodeFrame(encodeFrame(t, m), defaultFrameLimit)
	if err != nil {
		t.Fatal(err)
	}
	want := []*raftpb.Entry{{}, {Data: []byte("x")}}
	if diff := cmp.Diff(want, got[0].Raft.Entries, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	app := func(change func(*raftpb.Message)) *raftpb.Message {
		m := &raftpb.Message{Type: raftpb.MsgApp.Enum()}
		change(m)
		return m
	}
	for name, m := range map[string]*raftpb.Message{
		"nil":              nil,
		"no type":          {},
		"unknown type":     {Type: raftpb.MessageType(99).Enum()},
		"negative type":    {Type: raftpb.MessageType(-1).Enum()},
		"proposal":         {Type: raftpb.MsgProp.Enum()},
		"responses":        app(func(m *raftpb.Message) { m.Responses = []*raftpb.Message{{}} }),
		"snapshot data":    app(func(m *raftpb.Message) { m.Snapshot = &raftpb.Snapshot{Data: []byte("x")} }),
		"entry type":       app(func(m *raftpb.Message) { m.Entries = []*raftpb.Entry{{Type: raftpb.EntryType(3).Enum()}} }),
		"entry type below": app(func(m *raftpb.Message) { m.Entries = []*raftpb.Entry{{Type: raftpb.EntryType(-1).Enum()}} }),
		"too many entries": app(func(m *raftpb.Message) { m.Entries = make([]*raftpb.Entry, maxFrameEntries+1) }),
		"configuration": app(func(m *raftpb.Message) {
			m.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
				ConfState: &raftpb.ConfState{LearnersNext: make([]uint64, largestConfIDs+1)},
			}}
		}),
	} {
		var b frameBuilder
		b.reset(nil)
		if err := b.add(Message{Raft: m}); !errors.Is(err, ErrForbiddenMessage) {
			t.Errorf("%s: add = %v, want ErrForbiddenMessage", name, err)
		}
		if len(b.buf) != frameHeaderSize || b.messages != 0 {
			t.Errorf("%s: the refused message left %d bytes", name, len(b.buf)-frameHeaderSize)
		}
	}
}

// reseal corrects length and checksum after a test has changed a frame.
func reseal(frame []byte) []byte {
	binary.LittleEndian.PutUint32(frame[offsetLength:], uint32(len(frame)))
	binary.LittleEndian.PutUint32(frame[offsetChecksum:], checksum(frame[offsetLength:]))
	return frame
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	valid := func() []byte {
		return encodeFrame(t, Message{Group: 10, Raft: &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), To: new(uint64(1)), Entries: []*raftpb.Entry{{Data: []byte("data")}},
		}})
	}
	body := func(messages, entries uint32, bytes ...byte) []byte {
		frame := append(make([]byte, frameHeaderSize), bytes...)
		frame[0] = frameVersion
		binary.LittleEndian.PutUint32(frame[offsetMessages:], messages)
		binary.LittleEndian.PutUint32(frame[offsetEntries:], entries)
		return reseal(frame)
	}
	change := func(at int, value byte) []byte {
		frame := valid()
		frame[at] = value
		return frame
	}
	app := byte(raftpb.MsgApp)
	for name, c := range map[string]struct {
		frame []byte
		want  error
	}{
		"empty":                      {nil, ErrMalformed},
		"shorter than the header":    {valid()[:frameHeaderSize-1], ErrMalformed},
		"truncated":                  {valid()[:len(valid())-1], ErrMalformed},
		"longer than it says":        {append(valid(), 0), ErrMalformed},
		"version":                    {change(0, 2), ErrMalformed},
		"reserved byte":              {change(2, 1), ErrMalformed},
		"checksum":                   {change(offsetChecksum, valid()[offsetChecksum]^1), ErrCorrupt},
		"flipped body bit":           {change(len(valid())-1, 'A'^0x20^'a'), ErrCorrupt},
		"more messages than bytes":   {body(1000, 0, 10, app, 0, 0), ErrMalformed},
		"more entries than bytes":    {body(1, 1000, 10, app, 0, 0), ErrMalformed},
		"more messages than allowed": {body(maxFrameMessages+1, 0), ErrMalformed},
		"fewer messages than bytes":  {body(0, 0, 10, app, 0, 0), ErrMalformed},
		"fewer entries than said":    {body(1, 1, 10, app, 0, 0, 0), ErrMalformed},
		"local type":                 {body(1, 0, 10, byte(raftpb.MsgHup), 0, 0), ErrForbiddenMessage},
		"proposal":                   {body(1, 0, 10, byte(raftpb.MsgProp), 0, 0), ErrForbiddenMessage},
		"unknown type":               {body(1, 0, 10, 200, 0, 0), ErrForbiddenMessage},
		"unknown field":              {body(1, 0, 10, app, 0, 0x80), ErrMalformed},
		"reject value alone":         {body(1, 0, 10, app, 0, isReject>>8), ErrMalformed},
		"missing number":             {body(1, 0, 10, app, hasTo, 0), ErrMalformed},
		"endless number":             {body(1, 0, append([]byte{10, app, hasTo, 0}, bytes.Repeat([]byte{0x80}, 11)...)...), ErrMalformed},
		"context beyond the end":     {body(1, 0, 10, app, 0, hasContext>>8, 200, 1), ErrMalformed},
		"huge context":               {body(1, 0, 10, app, 0, hasContext>>8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), ErrMalformed},
		"no entries, yet the bit":    {body(1, 0, 10, app, 0, hasEntries>>8, 0), ErrMalformed},
		"entries beyond the count":   {body(1, 1, 10, app, 0, hasEntries>>8, 2, 0, 0), ErrMalformed},
		"unknown entry field":        {body(1, 1, 10, app, 0, hasEntries>>8, 1, 0x40), ErrMalformed},
		"same term without term":     {body(1, 1, 10, app, 0, hasEntries>>8, 1, entrySameTerm), ErrMalformed},
		"next index without index":   {body(1, 1, 10, app, 0, hasEntries>>8, 1, entryNextIndex), ErrMalformed},
		"unknown entry type":         {body(1, 1, 10, app, 0, hasEntries>>8, 1, entryHasType, 3), ErrMalformed},
		"entry data beyond the end":  {body(1, 1, 10, app, 0, hasEntries>>8, 1, entryHasData, 9, 'x'), ErrMalformed},
		"snapshot cut short":         {body(1, 0, 10, app, 0, hasSnapshot>>8), ErrMalformed},
		"snapshot index, no meta":    {body(1, 0, 10, app, 0, hasSnapshot>>8, metadataHasIndex, 1), ErrMalformed},
		"auto leave without conf":    {body(1, 0, 10, app, 0, hasSnapshot>>8, snapshotHasMetadata|confHasAutoLeave), ErrMalformed},
		"auto leave value alone":     {body(1, 0, 10, app, 0, hasSnapshot>>8, snapshotHasMetadata|metadataHasConf|confAutoLeave, 0, 0, 0, 0), ErrMalformed},
		"voters beyond the end":      {body(1, 0, 10, app, 0, hasSnapshot>>8, snapshotHasMetadata|metadataHasConf, 90, 1), ErrMalformed},
	} {
		if got, err := decodeFrame(c.frame, defaultFrameLimit); !errors.Is(err, c.want) {
			t.Errorf("%s: decoded %d messages, error %v, want %v", name, len(got), err, c.want)
		}
	}
	if _, err := decodeFrame(valid(), len(valid())-1); !errors.Is(err, ErrMalformed) {
		t.Errorf("over the limit: %v, want ErrMalformed", err)
	}
	if _, err := decodeFrame(valid(), len(valid())); err != nil {
		t.Errorf("at the limit: %v", err)
	}
}

// Every single bit flip of a frame is noticed.
func TestDecodeNoticesEveryBitFlip(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	frame := encodeFrame(t, randomMessage(r), randomMessage(r), randomMessage(r))
	for bit := range len(frame) * 8 {
		flipped := bytes.Clone(frame)
		flipped[bit/8] ^= 1 << (bit % 8)
		if _, err := decodeFrame(flipped, defaultFrameLimit); err == nil {
			t.Fatalf("flip of bit %d in byte %d went unnoticed", bit%8, bit/8)
		}
	}
}

// Entries must not be able to grow into their neighbours' data, which lies behind theirs in the frame.
func TestDecodedSlicesCannotGrowIntoTheFrame(t *testing.T) {
	t.Parallel()
	m := Message{Group: 1, Raft: &raftpb.Message{
		Type: raftpb.MsgApp.Enum(), Context: []byte("context"),
		Entries: []*raftpb.Entry{{Data: []byte("first")}, {Data: []byte("second")}},
	}}
	got, err := decodeFrame(encodeFrame(t, m, m), defaultFrameLimit)
	if err != nil {
		t.Fatal(err)
	}
	first := got[0].Raft
	_ = append(first.Context, "XXXX"...)
	_ = append(first.Entries[0].Data, "XXXX"...)
	_ = append(first.Entries, &raftpb.Entry{Data: []byte("XXXX")})
	for i := range got {
		if !proto.Equal(got[i].Raft, m.Raft) {
			t.Errorf("message %d was overwritten: %v", i, got[i].Raft)
		}
	}
}

func FuzzDecodeFrame(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		f.Add(encodeFrame(f, randomMessage(r), randomMessage(r)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= frameHeaderSize { // let the fuzzer past the checksum
			data = reseal(bytes.Clone(data))
			data[0], data[1], data[2], data[3] = frameVersion, 0, 0, 0
		}
		msgs, err := decodeFrame(data, defaultFrameLimit)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrForbiddenMessage) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		again, err := decodeFrame(encodeFrame(t, msgs...), defaultFrameLimit)
		if err != nil || len(again) != len(msgs) {
			t.Fatalf("what was decoded does not survive encoding: %v", err)
		}
		for i := range msgs {
			if msgs[i].Group != again[i].Group || !proto.Equal(msgs[i].Raft, again[i].Raft) {
				t.Fatalf("message %d changed:\n%v\n%v", i, msgs[i], again[i])
			}
		}
	})
}
