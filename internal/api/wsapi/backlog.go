package wsapi

import "github.com/kalamdb/kalamdb-go/internal/live"

// backlog is what a receiver has still to be sent, in order. Small deliveries are copied into it. Of a large one it holds what happened, which
// all receivers share, and encodes it as it is written: however many of them are behind, what one command changed is in memory once.
type backlog struct {
	deliveries []delivery
	own        []byte // behind the deliveries
	cursor     uint64 // behind own; zero where nobody asks for it
	bytes      int    // of all of it, as it is written
}

// delivery is a large delivery and what is to be sent before it.
type delivery struct {
	before []byte
	cursor uint64 // behind before
	rest   []live.Notification
}

const (
	// sharedFrom is the size from which a delivery is not copied, in bytes.
	sharedFrom = 64 << 10
	// portionBytes is about how much is encoded at once; a body that is larger is not copied even then.
	portionBytes = 32 << 10
)

// encoding appends what a notification is on the wire. Of a large one it appends what is in front of the body, and returns the body, which is
// shared, and what comes behind it.
type encoding func(dst []byte, n live.Notification) (out, body, tail []byte)

// portion is what is written next: whole frames, or one frame in parts.
type portion struct {
	own   []byte    // the buffer of the first part; to be given back
	at    int       // how much of the first part is written
	parts [3][]byte // what is not written yet; those behind the first complete the frame that it begins
}

func portionOf(frames []byte) portion { return portion{own: frames, parts: [3][]byte{frames}} }

// left is how many bytes are not written yet.
func (p *portion) left() int { return len(p.parts[0]) + len(p.parts[1]) + len(p.parts[2]) }

// first is what comes first of what is not written yet.
func (p *portion) first() []byte {
	for _, part := range p.parts {
		if len(part) > 0 {
			return part
		}
	}
	return nil
}

// wrote notes that so much of first is written.
func (p *portion) wrote(n int) {
	for i := range p.parts {
		if len(p.parts[i]) > 0 {
			p.parts[i] = p.parts[i][n:]
			if i == 0 {
				p.at += n
			}
			return
		}
	}
}

// giveUp leaves the rest of the frame that has begun, and nothing behind it.
func (p *portion) giveUp() {
	switch {
	case len(p.parts[0]) == 0: // it is at the body of the frame that own begins
	case p.at == 0:
		p.parts = [3][]byte{}
	case len(p.parts[1]) == 0:
		p.parts[0] = p.own[p.at:frameEnd(p.own, p.at)]
	}
}

// share takes a large delivery, of so many bytes, behind what is held. It keeps the list.
func (b *backlog) share(size int, notifications []live.Notification) {
	b.deliveries = append(b.deliveries, delivery{before: b.own, cursor: b.cursor, rest: notifications})
	b.own, b.cursor = nil, 0
	b.bytes += size
}

// next takes what is to be written next, and the cursor behind it. Nothing is left of it when nothing is held.
func (b *backlog) next(encode encoding, buffer func() []byte) (p portion, cursor uint64) {
	if len(b.deliveries) == 0 {
		p, cursor = portionOf(b.own), b.cursor
		b.own, b.cursor, b.bytes = nil, 0, 0
		return p, cursor
	}
	d := &b.deliveries[0]
	if len(d.before) > 0 {
		p, cursor = portionOf(d.before), d.cursor
		d.before = nil
	} else {
		p, cursor = d.encode(encode, buffer())
	}
	if len(d.rest) == 0 {
		d.before = nil
		if b.deliveries = b.deliveries[1:]; len(b.deliveries) == 0 {
			b.deliveries = nil
		}
	}
	b.bytes -= p.left()
	return p, cursor
}

// encode takes the next notifications of a delivery: as many as there is room for, or one that is large.
func (d *delivery) encode(encode encoding, dst []byte) (p portion, cursor uint64) {
	for len(d.rest) > 0 && len(dst) < portionBytes {
		out, body, tail := encode(dst, d.rest[0])
		if body != nil && len(dst) > 0 {
			break // it is a portion of its own
		}
		dst, cursor = out, d.rest[0].Event.Seq
		d.rest[0] = live.Notification{} // others may be the last to hold it
		d.rest = d.rest[1:]
		if body != nil {
			return portion{own: dst, parts: [3][]byte{dst, body, tail}}, cursor
		}
	}
	return portionOf(dst), cursor
}

// clear gives up what is held.
func (b *backlog) clear() { *b = backlog{own: b.own[:0]} }
