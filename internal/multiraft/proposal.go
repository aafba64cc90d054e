package multiraft

import (
	"sync"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
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
}

// fill makes entries of proposals.
func (b *propBlock) fill(proposals []*proposal) []*raftpb.Entry {
	for len(b.listed) < len(proposals) {
		more := make([]raftpb.Entry, len(proposals))
		for i := range more {
			b.listed = append(b.listed, &more[i])
		}
	}
	for i, p := range proposals {
		b.listed[i].Data = p.data
	}
	return b.listed[:len(proposals)]
}

// flushProposals hands waiting proposals to Raft in one message. What Raft drops is answered at once.
func (g *group) flushProposals(maxCount int) {
	n := min(len(g.proposals), maxCount)
	if n == 0 {
		return
	}
	block := &g.worker.props
	err := g.node.Step(&raftpb.Message{
		Type: raftpb.MsgProp.Enum(), From: new(g.node.BasicStatus().ID), Entries: block.fill(g.proposals[:n]),
	})
	if err != nil {
		refusal := g.refusal()
		for _, p := range g.proposals[:n] {
			g.resolve(p.id, proposalResult{err: refusal})
		}
	}
	for i, p := range g.proposals[:n] {
		block.listed[i].Data = nil
		if cap(p.data) <= keepProposalBytes {
			idleProposals.Put(p)
		}
	}
	rest := copy(g.proposals, g.proposals[n:])
	clear(g.proposals[rest:])
	g.proposals = g.proposals[:rest]
}
