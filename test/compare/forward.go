package main

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// The messages of NodeService.Forward, as proto/kalamdb/node/v1/node.proto has them. They are written by hand, because the product's code is not
// to be compiled into this module. It saves a microsecond of the clients against generated code.

// What a ForwardResponse may say.
const (
	forwardNotLeader = 1
	forwardUnknown   = 3
)

type forwardRequest struct {
	group uint64
	id    [16]byte
	data  []byte
}

type forwardResponse struct {
	code, leader uint64
	message      string
}

func (r *forwardRequest) encode() []byte {
	out := make([]byte, 0, len(r.data)+48)
	out = protowire.AppendVarint(protowire.AppendTag(out, 1, protowire.VarintType), r.group)
	out = protowire.AppendBytes(protowire.AppendTag(out, 2, protowire.BytesType), r.id[:])
	return protowire.AppendBytes(protowire.AppendTag(out, 3, protowire.BytesType), r.data)
}

func (r *forwardResponse) decode(in []byte) error {
	for len(in) > 0 {
		field, kind, n := protowire.ConsumeTag(in)
		if n < 0 {
			return protowire.ParseError(n)
		}
		in = in[n:]
		switch {
		case kind == protowire.VarintType && (field == 3 || field == 4):
			var value uint64
			if value, n = protowire.ConsumeVarint(in); field == 3 {
				r.code = value
			} else {
				r.leader = value
			}
		case kind == protowire.BytesType && field == 5:
			r.message, n = protowire.ConsumeString(in)
		default:
			n = protowire.ConsumeFieldValue(field, kind, in)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		in = in[n:]
	}
	return nil
}

// forwardCodec writes and reads them for grpc.
type forwardCodec struct{}

var errNotForward = errors.New("no message of Forward")

// Marshal implements encoding.CodecV2.
func (forwardCodec) Marshal(v any) (mem.BufferSlice, error) {
	request, ok := v.(*forwardRequest)
	if !ok {
		return nil, fmt.Errorf("%T: %w", v, errNotForward)
	}
	return mem.BufferSlice{mem.SliceBuffer(request.encode())}, nil
}

// Unmarshal implements encoding.CodecV2.
func (forwardCodec) Unmarshal(data mem.BufferSlice, v any) error {
	response, ok := v.(*forwardResponse)
	if !ok {
		return fmt.Errorf("%T: %w", v, errNotForward)
	}
	return response.decode(data.Materialize())
}

// Name implements encoding.CodecV2: what travels is protobuf.
func (forwardCodec) Name() string { return "proto" }
