package multiraft

import (
	"sync"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// proposal is one admitted command on its way into the log.
type proposal struct {
	id   ident.RequestID
	data []byte // sealed envelope
}

// keepProposalBytes is the largest command whose memory is used again.
const keepProposalBytes = 16 << 10

// idleProposals are proposals that Raft has copied into its log.
var idleProposals = sync.Pool{New: func() any { return &proposal{} }} //nolint:gochecknoglobals // a pool

// newProposal copies a command into a proposal. Its group's worker uses it up.
func newProposal(id ident.RequestID, data []byte) *proposal {
	p, _ := idleProposals.Get().(*proposal)
	p.id, p.data = id, sealEnvelope(p.data, id, data)
	return p
}

// propBlock is the memory of the message that hands proposals to Raft. Raft copies entries and their data, so a worker
// uses the same one for all its groups and passes, and the proposals go back to where they came from.
type propBlock struct {
	listed []*raftpb.Entry // up to maxProposalsPerPass
	packed []byte          // data of the packed entries among them
}

// keepPackedBytes is up to how much memory of packed entries is used again.
const keepPackedBytes = 1 << 20

// fill makes entries of proposals, in their order: one of each, or, where packBytes allows so many bytes in an entry, one
// of as many as it can hold. A proposal that is alone keeps its own envelope.
func (b *propBlock) fill(proposals []*proposal, packBytes int) []*raftpb.Entry {
	for len(b.listed) < len(proposals) {
		more := make([]raftpb.Entry, len(proposals))
		for i := range more {
			b.listed = append(b.listed, &more[i])
		}
	}
	b.packed = b.packed[:0]
	entries := 0
	for len(proposals) > 0 {
		n := packable(proposals, packBytes)
		b.listed[entries].Data = proposals[0].data
		if n > 1 {
			b.listed[entries].Data = b.pack(proposals[:n])
		}
		proposals = proposals[n:]
		entries++
	}
	return b.listed[:entries]
}

// pack makes the data of one entry. When the memory grows, entries before keep what they have.
func (b *propBlock) pack(proposals []*proposal) []byte {
	from := len(b.packed)
	b.packed = append(b.packed, packedVersion)
	for _, p := range proposals {
		b.packed = appendPacked(b.packed, p.data)
	}
	return b.packed[from:len(b.packed):len(b.packed)]
}

// packable is how many of the proposals, at least one, go into the next entry.
func packable(proposals []*proposal, packBytes int) int {
	bytes, n := 1, 0
	for n < len(proposals) && n < command.MaxPacked {
		if bytes += len(proposals[n].data) - envelopeBytes + packedOverhead; bytes > packBytes {
			break
		}
		n++
	}
	return max(n, 1)
}

// release forgets the data of entries that Raft has copied.
func (b *propBlock) release(entries []*raftpb.Entry) {
	for _, e := range entries {
		e.Data = nil
	}
	if cap(b.packed) > keepPackedBytes {
		b.packed = nil
	}
}

// packBytes is how large an entry of several commands may be, zero where each command has its own. Commands of the meta
// group stay alone: their effects are numbered by the index, and few of them come together.
func (c *Config) packBytes(id shard.GroupID) int {
	if id.Class() == shard.ClassMeta || c.Packs == nil || !c.Packs() {
		return 0
	}
	return min(command.MaxPackedBytes, int(c.Log.MaxEntryBytes()))
}

// flushProposals hands waiting proposals to Raft in one message. What Raft drops is answered at once.
func (g *group) flushProposals(maxCount int) {
	n := min(len(g.proposals), maxCount)
	if n == 0 {
		return
	}
	packBytes := 0
	if n > 1 {
		packBytes = g.worker.m.cfg.packBytes(g.id)
	}
	entries := g.worker.props.fill(g.proposals[:n], packBytes)
	err := g.node.Step(&raftpb.Message{
		Type: raftpb.MsgProp.Enum(), From: new(g.node.BasicStatus().ID), Entries: entries,
	})
	if err != nil {
		refusal := g.refusal()
		for _, p := range g.proposals[:n] {
			g.resolve(p.id, proposalResult{err: refusal})
		}
	}
	g.worker.props.release(entries)
	for _, p := range g.proposals[:n] {
		if cap(p.data) <= keepProposalBytes {
			idleProposals.Put(p)
		}
	}
	rest := copy(g.proposals, g.proposals[n:])
	clear(g.proposals[rest:])
	g.proposals = g.proposals[:rest]
}
