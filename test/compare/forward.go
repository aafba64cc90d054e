package main

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// The messages of NodeService.Forward and ForwardStream, as proto/kalamdb/node/v1/node.proto has them. They are written by hand, because the product's code is not
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

// forwardRoom is more than a request takes besides its data.
const forwardRoom = 64

func (r *forwardRequest) append(out []byte) []byte {
	out = protowire.AppendVarint(protowire.AppendTag(out, 1, protowire.VarintType), r.group)
	out = protowire.AppendBytes(protowire.AppendTag(out, 2, protowire.BytesType), r.id[:])
	return protowire.AppendBytes(protowire.AppendTag(out, 3, protowire.BytesType), r.data)
}

func (r *forwardResponse) decode(in []byte) error {
	return eachField(in, func(field int, value uint64, text []byte) error {
		switch field {
		case 3:
			r.code = value
		case 4:
			r.leader = value
		case 5:
			r.message = string(text)
		}
		return nil
	})
}

// eachField hands out the fields of a message: numbers, and what has a length. Others are passed over.
func eachField(in []byte, take func(field int, value uint64, text []byte) error) error {
	for len(in) > 0 {
		field, kind, n := protowire.ConsumeTag(in)
		if n < 0 {
			return protowire.ParseError(n)
		}
		in = in[n:]
		var value uint64
		var text []byte
		switch kind { //nolint:exhaustive // the others are passed over
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(in)
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(in)
		default:
			n = protowire.ConsumeFieldValue(field, kind, in)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := take(int(field), value, text); err != nil {
			return err
		}
		in = in[n:]
	}
	return nil
}

// forwardCall is a request on a stream.
type forwardCall struct {
	number  uint64
	request *forwardRequest
}

type forwardBatch []forwardCall

func (b forwardBatch) encode() []byte {
	size := 0
	for _, c := range b {
		size += len(c.request.data) + 2*forwardRoom
	}
	out := make([]byte, 0, size)
	var call, request []byte
	for _, c := range b {
		request = c.request.append(request[:0])
		call = protowire.AppendVarint(protowire.AppendTag(call[:0], 1, protowire.VarintType), c.number)
		call = protowire.AppendBytes(protowire.AppendTag(call, 2, protowire.BytesType), request)
		out = protowire.AppendBytes(protowire.AppendTag(out, 1, protowire.BytesType), call)
	}
	return out
}

// forwardAnswer is the answer to a call.
type forwardAnswer struct {
	number   uint64
	response forwardResponse
}

type forwardAnswers []forwardAnswer

// decode reads messages of an answer each.
func (a *forwardAnswers) decode(in []byte) error {
	return eachField(in, func(field int, value uint64, text []byte) error {
		if field != 1 {
			return nil
		}
		var one forwardAnswer
		err := eachField(text, func(field int, value uint64, text []byte) error {
			switch field {
			case 1:
				one.number = value
			case 2:
				return one.response.decode(text)
			}
			return nil
		})
		*a = append(*a, one)
		return err
	})
}

// forwardCodec writes and reads them for grpc.
type forwardCodec struct{}

var errNotForward = errors.New("no message of Forward")

// Marshal implements encoding.CodecV2.
func (forwardCodec) Marshal(v any) (mem.BufferSlice, error) {
	var out []byte
	switch v := v.(type) {
	case *forwardRequest:
		out = v.append(make([]byte, 0, len(v.data)+forwardRoom))
	case forwardBatch:
		out = v.encode()
	default:
		return nil, fmt.Errorf("%T: %w", v, errNotForward)
	}
	return mem.BufferSlice{mem.SliceBuffer(out)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (forwardCodec) Unmarshal(data mem.BufferSlice, v any) error {
	switch v := v.(type) {
	case *forwardResponse:
		return v.decode(data.Materialize())
	case *forwardAnswers:
		return v.decode(data.Materialize())
	}
	return fmt.Errorf("%T: %w", v, errNotForward)
}

// Name implements encoding.CodecV2: what travels is protobuf.
func (forwardCodec) Name() string { return "proto" }
