package transport

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// outFrame is a frame on its way out; gRPC returns its buffer to the pool once it is written.
type outFrame struct {
	buffer mem.Buffer
}

// inFrame is a received frame in memory of its own, because the messages decoded from it alias it.
type inFrame struct {
	data []byte
}

// trackedForward remembers whether the request was ever encoded, which gRPC does only after it has a
// stream to write it to: before that the request surely went nowhere.
type trackedForward struct {
	req     *nodev1.ForwardRequest
	encoded bool
}

// wireCodec passes frames as raw bytes and everything else through protobuf. It is given to gRPC per
// connection and server, never registered.
type wireCodec struct {
	protobuf encoding.CodecV2
}

func newWireCodec() wireCodec {
	return wireCodec{protobuf: encoding.GetCodecV2(protocodec.Name)}
}

// Name implements encoding.CodecV2.
func (wireCodec) Name() string { return protocodec.Name }

// Marshal implements encoding.CodecV2.
func (c wireCodec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case *outFrame:
		return mem.BufferSlice{v.buffer}, nil
	case *trackedForward:
		v.encoded = true
		return c.protobuf.Marshal(v.req)
	}
	data, err := c.protobuf.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return data, nil
}

// Unmarshal implements encoding.CodecV2.
func (c wireCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if frame, ok := v.(*inFrame); ok {
		frame.data = data.Materialize()
		return nil
	}
	if err := c.protobuf.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode %T: %w", v, err)
	}
	return nil
}

// framePool keeps frame buffers of three sizes. Buffers above the largest are left to the collector.
type framePool struct {
	tiers [3]sync.Pool
}

// frameTiers are the capacities of pooled buffers, in bytes.
func frameTiers() [3]int { return [3]int{8 << 10, 128 << 10, 1 << 20} }

// Get implements mem.BufferPool.
func (p *framePool) Get(length int) *[]byte {
	for i, size := range frameTiers() {
		if length > size {
			continue
		}
		if buf, ok := p.tiers[i].Get().(*[]byte); ok {
			*buf = (*buf)[:length]
			return buf
		}
		buf := make([]byte, length, size)
		return &buf
	}
	buf := make([]byte, length)
	return &buf
}

// Put implements mem.BufferPool.
func (p *framePool) Put(buf *[]byte) {
	tiers := frameTiers()
	if cap(*buf) > tiers[len(tiers)-1] {
		return
	}
	for i := len(tiers) - 1; i >= 0; i-- {
		if cap(*buf) >= tiers[i] {
			p.tiers[i].Put(buf)
			return
		}
	}
}
