package command

import (
	"bytes"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// This file encodes the usual command and the usual response without reflection, to the bytes that the general encoder would make: every
// INSERT is encoded once and its response on each replica. decode_row.go is the other side.

// encodeRowWrite encodes a command that writes one row and says no more than most do. For every other command ok is false, and the general
// encoder judges it.
func encodeRowWrite(cmd *commandv1.Command) (data []byte, ok bool) {
	header, body := cmd.GetHeader(), cmd.GetWriteRows()
	if header == nil || body == nil || len(body.GetRows()) != 1 || len(body.GetRevisions()) > 1 || !usualHeader(header) || !usualBody(body) {
		return nil, false
	}
	row := body.GetRows()[0]
	if row == nil || !usualRow(row) {
		return nil, false
	}
	var few [1 << 10]byte // most rows are smaller
	rowBytes := appendRowWrite(few[:0], row)
	var one [32]byte
	revision := one[:0]
	if len(body.GetRevisions()) == 1 {
		of := body.GetRevisions()[0]
		revision = appendNumber(appendNumber(revision, 1, of.GetTableId()), 2, uint64(of.GetRevision()))
	}
	var small [256]byte
	headerBytes := appendHeader(small[:0], header)
	size := sizeBytes(2, len(rowBytes))
	if len(body.GetReply()) > 0 {
		size += sizeBytes(14, len(body.GetReply()))
	}
	if len(body.GetRevisions()) == 1 {
		size += sizeBytes(20, len(revision))
	}
	data = make([]byte, 0, 1+sizeBytes(1, len(headerBytes))+sizeBytes(40, size))
	data = append(data, Version)
	data = protowire.AppendBytes(protowire.AppendTag(data, 1, protowire.BytesType), headerBytes)
	data = protowire.AppendVarint(protowire.AppendTag(data, 40, protowire.BytesType), uint64(size)) //nolint:gosec // not negative
	data = protowire.AppendBytes(protowire.AppendTag(data, 2, protowire.BytesType), rowBytes)
	data = appendText(data, 14, body.GetReply())
	if len(body.GetRevisions()) == 1 {
		data = protowire.AppendBytes(protowire.AppendTag(data, 20, protowire.BytesType), revision)
	}
	return data, true
}

func usualHeader(h *commandv1.Header) bool {
	return h.GetLogFormat() == 0 && h.GetAudit() == nil && utf8.ValidString(h.GetActor()) && len(h.ProtoReflect().GetUnknown()) == 0
}

func usualBody(b *commandv1.WriteRows) bool {
	return len(b.GetScopes())+len(b.GetReads())+len(b.GetSpans())+len(b.GetIndexSpans())+len(b.GetCold()) == 0 && b.GetRefusal() == nil &&
		b.GetRestoreToken() == 0 && b.GetRestoreOrigin() == 0 && len(b.ProtoReflect().GetUnknown()) == 0 &&
		(len(b.GetRevisions()) == 0 || b.GetRevisions()[0] != nil && len(b.GetRevisions()[0].ProtoReflect().GetUnknown()) == 0)
}

func usualRow(r *commandv1.RowWrite) bool {
	return len(r.GetUnindex())+len(r.GetIndex()) == 0 && utf8.ValidString(r.GetUser()) && utf8.ValidString(r.GetKeyText()) &&
		len(r.ProtoReflect().GetUnknown()) == 0
}

func appendHeader(data []byte, h *commandv1.Header) []byte {
	data = appendText(data, 1, h.GetRequestId())
	data = appendNumber(data, 2, h.GetMinIndex())
	data = appendNumber(data, 3, protowire.EncodeZigZag(h.GetNowMicros()))
	data = appendNumber(data, 4, h.GetMetaIndex())
	return appendText(data, 5, h.GetActor())
}

func appendRowWrite(data []byte, r *commandv1.RowWrite) []byte {
	data = appendNumber(data, 1, r.GetTableId())
	data = appendText(data, 2, r.GetUser())
	data = appendText(data, 3, r.GetPrimaryKey())
	data = appendText(data, 4, r.GetRow())
	data = appendNumber(data, 5, protowire.EncodeBool(r.GetDeleted()))
	data = appendNumber(data, 6, uint64(r.GetExpect())) //nolint:gosec // a negative one has the bits that it has in every encoder
	data = appendNumber(data, 7, r.GetExpectSeq())
	data = appendText(data, 8, r.GetKeyText())
	data = appendNumber(data, 11, r.GetColdSeq())
	return appendText(data, 12, r.GetColdRow())
}

// appendNumber appends a field that is left out when it is zero.
func appendNumber(data []byte, number protowire.Number, value uint64) []byte {
	if value == 0 {
		return data
	}
	return protowire.AppendVarint(protowire.AppendTag(data, number, protowire.VarintType), value)
}

// appendText appends a field that is left out when it is empty.
func appendText[T string | []byte](data []byte, number protowire.Number, value T) []byte {
	if len(value) == 0 {
		return data
	}
	data = protowire.AppendVarint(protowire.AppendTag(data, number, protowire.BytesType), uint64(len(value)))
	return append(data, value...)
}

func sizeBytes(number protowire.Number, n int) int {
	return protowire.SizeTag(number) + protowire.SizeBytes(n)
}

// encodeDone encodes the response of a command that was carried out and has nothing to say but how many rows it wrote.
func encodeDone(r *commandv1.Response) (data []byte, ok bool) {
	if r == nil || r.GetFailure() != nil || r.GetMessage() != "" || r.GetObjectId() != 0 || len(r.ProtoReflect().GetUnknown()) > 0 {
		return nil, false
	}
	const numbers = 1 + 1 + 10 + 1 + 5 // the version, and two numbers with their tags
	data = make([]byte, 0, numbers+sizeBytes(14, len(r.GetReply())))
	data = append(data, Version)
	data = appendNumber(data, 2, r.GetIndex())
	data = appendNumber(data, 3, uint64(r.GetAffected()))
	return appendText(data, 14, r.GetReply()), true
}

// decodeDone is the inverse of encodeDone, without the version. For other bytes ok is false, and the general decoder judges them.
func decodeDone(data []byte) (r *commandv1.Response, ok bool) {
	r = &commandv1.Response{}
	f := fields{rest: data}
	for f.next() {
		switch f.number {
		case 2:
			r.Index = f.varint()
		case 3:
			r.Affected = uint32(f.short()) //nolint:gosec // not negative
		case 14:
			r.Reply = bytes.Clone(f.bytes())
		default:
			return nil, false
		}
	}
	return r, !f.failed
}
